"""Package metadata, and models/ installed as cfa_lite/models."""

import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
DASK = ["dask>=2024.2", "distributed>=2024.2"]


class BuildWithoutMakers(build_py):
    """The scripts in models/ make the graphs and need torch or onnx; they stay in the checkout."""

    def find_package_modules(self, package, package_dir):
        modules = super().find_package_modules(package, package_dir)
        return [] if package == "cfa_lite.models" else modules


setup(
    name="cfa-lite",
    version=re.search(r'__version__ = "(.+?)"', (HERE / "cfa_lite" / "_version.py").read_text("utf-8"))[1],
    description="Visual anomaly detection from pictures of good parts: no GPU, no PyTorch",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE", "NOTICE"],
    python_requires=">=3.11",
    # Each lower bound is installed by .ci/run (tests/oldest.txt) and passes all tests.
    install_requires=[
        "numpy>=1.26",
        "numba>=0.59",
        "onnxruntime>=1.17",
        "pillow>=10.1",
        "click>=8.1",
        "scikit-learn>=1.4",
        "scipy>=1.11",
        "threadpoolctl>=3.2",
        "joblib>=1.4",
    ],
    extras_require={"dask": DASK, "test": ["pytest>=8", "hypothesis>=6", "psutil>=5.9", *DASK]},
    packages=[*find_packages(include=["cfa_lite", "cfa_lite.*"]), "cfa_lite.models"],
    package_dir={"cfa_lite": "cfa_lite", "cfa_lite.models": "models"},
    package_data={"cfa_lite": ["py.typed"], "cfa_lite.models": ["manifest.json", "README.md", "*/*.onnx"]},
    entry_points={"console_scripts": ["cfa-lite=cfa_lite.commands.main:main"]},
    cmdclass={"build_py": BuildWithoutMakers},
)
