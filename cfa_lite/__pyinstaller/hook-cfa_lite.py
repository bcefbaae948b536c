"""Hook of PyInstaller: what a frozen program needs of this package beside the modules that its imports name."""

from PyInstaller.utils.hooks import collect_data_files

from cfa_lite.features.manifest import models_folder

# The public names are imported on first use, by `import_module`.
hiddenimports = ["cfa_lite.estimator", "cfa_lite.published.estimator", "cfa_lite.features.image_files"]
datas = collect_data_files("cfa_lite", excludes=["models", "**/*.nbi", "**/*.nbc"])
# In a checkout the networks are not inside the package.
for path in sorted(models_folder().rglob("*")):
    if path.suffix in (".onnx", ".json", ".md"):
        datas.append((str(path), str("cfa_lite/models" / path.parent.relative_to(models_folder()))))
