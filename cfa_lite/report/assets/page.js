// Filters the images by the part of the address after "#": "all", a verdict, "missed" or "false-alarm". Without it, the
// page shows all images.
(function () {
  var root = document.documentElement;
  window.onerror = function (message) { root.setAttribute("data-error", message); };
  root.classList.add("js");
  var all = function (selector, place) { return Array.from((place || document).querySelectorAll(selector)); };
  var buttons = all("[data-filter]");
  function show() {
    var filter = location.hash.slice(1);
    if (!buttons.some(function (b) { return b.dataset.filter === filter; })) filter = "all";
    all("[data-tags]").forEach(function (e) {
      e.hidden = filter !== "all" && e.dataset.tags.split(" ").indexOf(filter) < 0;
    });
    var shown = 0;
    all("section").forEach(function (s) {
      var n = all("[data-tags]:not([hidden])", s).length;
      s.hidden = filter !== "all" && n === 0;
      shown += n;
    });
    document.getElementById("none").hidden = shown > 0;
    buttons.forEach(function (b) { b.setAttribute("aria-pressed", String(b.dataset.filter === filter)); });
  }
  buttons.forEach(function (b) { b.onclick = function () { location.hash = b.dataset.filter; }; });
  window.addEventListener("hashchange", show);
  show();
})();
