// The viewer: an image on a canvas, with zoom to full resolution, its anomaly map, outlines, and marks of a finger.

const PREVIEW_PX = 1600, PART_PX = 2048;
const MAX_POINTS = 400, TAP_PX = 8, LONGEST_ZOOM = 16; // LONGEST_ZOOM: css pixels for each image pixel

export class Viewer {
  constructor(canvas, onScale) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.onScale = onScale;
    this.image = null;
    this.preview = this.map = this.part = null;
    this.isMapOn = true;
    this.marks = [];
    this.tool = null; // "blob" or "box" while a defect is marked
    this.view = { scale: 1, x: 0, y: 0 };
    this.isFitted = true;
    this.nextRegion = 0;
    this.pointers = new Map();
    this.stroke = null;
    new ResizeObserver(() => this.resized()).observe(canvas);
    canvas.addEventListener("pointerdown", (e) => this.down(e));
    canvas.addEventListener("pointermove", (e) => this.moved(e));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (e) => this.up(e));
    canvas.addEventListener("wheel", (e) => {
      e.preventDefault();
      this.zoom(Math.exp(-e.deltaY / 400), ...this.at(e));
    }, { passive: false });
  }

  // Show an image: {id, key, version, width, height, regions, marks}; null for none.
  show(image) {
    const isSame = this.image && image && this.image.id === image.id && this.image.key === image.key;
    this.image = image;
    this.marks = image && image.marks ? image.marks.map((m) => ({ points: m.points, width: m.width })) : [];
    this.nextRegion = 0;
    this.map = null;
    if (!isSame) {
      this.preview = this.part = this.stroke = null;
      this.isFitted = true;
    }
    if (image) {
      if (!isSame) this.load("preview", `picture?side=${PREVIEW_PX}&key=${image.key}`);
      if (image.has_map) this.load("map", `map?key=${image.key}&version=${image.version}`);
    }
    this.resized();
  }

  load(name, address, more = {}) {
    const image = this.image, picture = new Image();
    const loaded = new Promise((resolve) => {
      picture.onload = () => {
        if (this.image === image || (this.image && image && this.image.key === image.key && name !== "map")) {
          this[name] = Object.assign(picture, more);
          this.draw();
        }
        resolve();
      };
      picture.onerror = () => resolve();
    });
    picture.src = `/images/${image.id}/${address}`;
    this.isLoaded = name === "preview" ? loaded : this.isLoaded;
  }

  resized() {
    const ratio = window.devicePixelRatio || 1, { clientWidth: w, clientHeight: h } = this.canvas;
    this.canvas.width = Math.max(1, Math.round(w * ratio));
    this.canvas.height = Math.max(1, Math.round(h * ratio));
    if (this.isFitted) this.fit();
    else this.draw();
  }

  fitScale() {
    const { clientWidth: w, clientHeight: h } = this.canvas;
    return this.image ? Math.min(w / this.image.width, h / this.image.height) : 1;
  }

  fit() {
    this.isFitted = true;
    if (this.image) {
      const scale = this.fitScale(), { clientWidth: w, clientHeight: h } = this.canvas;
      this.view = { scale, x: (w - this.image.width * scale) / 2, y: (h - this.image.height * scale) / 2 };
    }
    this.changed();
  }

  // Zoom by a factor; the point (x, y) of the canvas stays where it is.
  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    if (!this.image) return;
    const lowest = this.fitScale();
    const scale = Math.min(Math.max(this.view.scale * factor, lowest), Math.max(LONGEST_ZOOM, lowest));
    if (scale <= lowest * 1.001) return this.fit();
    const by = scale / this.view.scale;
    this.isFitted = false;
    this.view = { scale, x: x - (x - this.view.x) * by, y: y - (y - this.view.y) * by };
    this.changed();
  }

  zoomTo([left, top, width, height]) {
    const { clientWidth: w, clientHeight: h } = this.canvas, margin = 1.8;
    const side = [Math.max(width, 24) * margin, Math.max(height, 24) * margin];
    const scale = Math.max(this.fitScale(), Math.min(w / side[0], h / side[1], LONGEST_ZOOM));
    this.isFitted = false;
    this.view = { scale, x: w / 2 - (left + width / 2) * scale, y: h / 2 - (top + height / 2) * scale };
    this.changed();
  }

  zoomToNextRegion() {
    const regions = this.image ? this.image.regions : [];
    if (this.nextRegion >= regions.length) {
      this.nextRegion = 0;
      return this.fit();
    }
    this.zoomTo(regions[this.nextRegion].box);
    this.nextRegion += 1;
  }

  setMap(isOn) {
    this.isMapOn = isOn;
    this.draw();
  }

  setTool(tool) {
    this.tool = tool;
    this.stroke = null;
    this.canvas.classList.toggle("drawing", tool !== null);
    this.draw();
  }

  clearMarks() {
    this.marks = [];
    this.draw();
  }

  // After a change of the view: keep the image in sight, and ask for what is seen at full resolution.
  changed() {
    if (this.image) {
      const { clientWidth: w, clientHeight: h } = this.canvas, v = this.view;
      v.x = inside(v.x, w, this.image.width * v.scale);
      v.y = inside(v.y, h, this.image.height * v.scale);
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.sharpen(), 120);
      this.onScale(v.scale * (window.devicePixelRatio || 1));
    }
    this.draw();
  }

  sharpen() {
    const image = this.image, v = this.view, ratio = window.devicePixelRatio || 1;
    if (!image || !this.preview) {
      if (image) this.timer = setTimeout(() => this.sharpen(), 120);
      return;
    }
    const known = this.preview.naturalWidth / image.width;
    if (Math.min(v.scale * ratio, 1) <= known * 1.02) return;
    const left = Math.max(0, Math.floor(-v.x / v.scale)), top = Math.max(0, Math.floor(-v.y / v.scale));
    const right = Math.min(image.width, Math.ceil((this.canvas.clientWidth - v.x) / v.scale));
    const bottom = Math.min(image.height, Math.ceil((this.canvas.clientHeight - v.y) / v.scale));
    if (right <= left || bottom <= top) return;
    const box = [left, top, right - left, bottom - top];
    if (this.part && String(this.part.box) === String(box)) return;
    this.load("part", `picture?side=${PART_PX}&box=${box}&key=${image.key}`, { box });
  }

  // Drawing

  draw() {
    if (this.isAsked) return;
    this.isAsked = true;
    requestAnimationFrame(() => {
      this.isAsked = false;
      this.paint();
    });
  }

  paint() {
    const c = this.context, ratio = window.devicePixelRatio || 1, { scale, x, y } = this.view;
    c.setTransform(1, 0, 0, 1, 0, 0);
    c.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (!this.image || !this.preview) return;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    const { width, height } = this.image;
    const isExact = this.preview.naturalWidth >= width;
    c.imageSmoothingEnabled = scale * ratio < 4 || !isExact;
    c.imageSmoothingQuality = "high";
    c.drawImage(this.preview, x, y, width * scale, height * scale);
    if (this.part) {
      const [left, top, w, h] = this.part.box;
      c.imageSmoothingEnabled = scale * ratio < 4;
      c.drawImage(this.part, x + left * scale, y + top * scale, w * scale, h * scale);
    }
    if (this.isMapOn) {
      c.imageSmoothingEnabled = true;
      if (this.map) c.drawImage(this.map, x, y, width * scale, height * scale);
      for (const region of this.image.regions) {
        this.outline([region.contour], [4, 3], 1.2);
        this.outline(region.cores, [], 2);
      }
    }
    for (const mark of this.stroke ? [...this.marks, this.stroke] : this.marks) this.paintMark(mark);
  }

  path(points) {
    const { scale, x, y } = this.view;
    this.context.beginPath();
    points.forEach(([px, py]) => this.context.lineTo(x + px * scale, y + py * scale));
    this.context.closePath();
  }

  // White beside black is visible on any background.
  outline(contours, dash, width) {
    const c = this.context, rem = parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
    for (const contour of contours) {
      this.path(contour);
      for (const [color, w, d] of [["#000c", width + 2, []], ["#fff", width, dash]]) {
        c.strokeStyle = color;
        c.lineWidth = w * rem;
        c.setLineDash(d.map((length) => length * rem));
        c.stroke();
      }
    }
    c.setLineDash([]);
  }

  paintMark(mark) {
    const c = this.context;
    this.path(mark.points);
    c.fillStyle = "#58c4dd55";
    c.fill();
    c.lineJoin = c.lineCap = "round";
    c.lineWidth = Math.max(3, mark.width * this.view.scale);
    c.strokeStyle = "#58c4dd99";
    c.stroke();
    c.lineWidth = 2;
    c.strokeStyle = "#bff1ff";
    c.stroke();
  }

  // Fingers and mice

  at(event) {
    const place = this.canvas.getBoundingClientRect();
    return [event.clientX - place.left, event.clientY - place.top];
  }

  inImage([x, y]) {
    const v = this.view, clamp = (value, high) => Math.round(Math.min(Math.max(value, 0), high) * 10) / 10;
    return [clamp((x - v.x) / v.scale, this.image.width), clamp((y - v.y) / v.scale, this.image.height)];
  }

  down(event) {
    if (!this.image || event.button > 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    const at = this.at(event);
    this.pointers.set(event.pointerId, { at, start: at });
    if (this.pointers.size === 1 && this.tool) {
      const first = this.inImage(at);
      this.stroke = { points: [first], width: this.tool === "blob" ? Math.round(60 / this.view.scale) / 10 : 0, first };
    } else {
      this.stroke = null; // two fingers zoom
    }
    this.draw();
  }

  moved(event) {
    const pointer = this.pointers.get(event.pointerId);
    if (!pointer || !this.image) return;
    const before = pointer.at, at = this.at(event);
    pointer.at = at;
    if (this.pointers.size === 2) {
      const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, p]) => p.at);
      const middle = [(at[0] + other[0]) / 2, (at[1] + other[1]) / 2];
      this.view.x += (at[0] - before[0]) / 2;
      this.view.y += (at[1] - before[1]) / 2;
      this.zoom(distance(at, other) / Math.max(1, distance(before, other)), ...middle);
    } else if (this.stroke) {
      const point = this.inImage(at), [left, top] = this.stroke.first;
      if (this.tool === "box") {
        this.stroke.points = [[left, top], [point[0], top], point, [left, point[1]]];
      } else if (this.stroke.points.length < MAX_POINTS) {
        this.stroke.points.push(point);
      }
      this.draw();
    } else if (!this.isFitted) {
      this.view.x += at[0] - before[0];
      this.view.y += at[1] - before[1];
      this.changed();
    }
  }

  up(event) {
    const pointer = this.pointers.get(event.pointerId);
    this.pointers.delete(event.pointerId);
    if (!pointer || !this.image || this.pointers.size) return;
    const isTap = distance(pointer.at, pointer.start) < TAP_PX;
    if (this.stroke) {
      const isBoxOfNothing = this.tool === "box" && this.stroke.points.length < 4;
      if (event.type === "pointerup" && !isBoxOfNothing) {
        this.marks.push({ points: this.stroke.points, width: this.stroke.width });
      }
      this.stroke = null;
      this.draw();
    } else if (isTap && event.type === "pointerup") {
      const [x, y] = this.inImage(pointer.at);
      const hit = this.image.regions.find(({ box }) =>
        x >= box[0] && y >= box[1] && x <= box[0] + box[2] && y <= box[1] + box[3]);
      if (hit && this.isFitted) this.zoomTo(hit.box);
      else if (!this.isFitted) this.fit();
    }
  }
}

// Move the start of a picture so that it fills the canvas, or lies in its middle.
function inside(start, canvas, picture) {
  if (picture <= canvas) return (canvas - picture) / 2;
  return Math.min(0, Math.max(canvas - picture, start));
}

function distance([a, b], [c, d]) {
  return Math.hypot(a - c, b - d);
}
