"""What pyproject.toml cannot say: models/ is installed as cfa_lite/models, without the scripts that make the models."""

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py


class BuildWithoutMakers(build_py):
    """Leave out the scripts in models/, which need torch or onnx; they stay in the checkout."""

    def find_package_modules(self, package, package_dir):
        modules = super().find_package_modules(package, package_dir)
        return [] if package == "cfa_lite.models" else modules


setup(
    packages=[*find_packages(include=["cfa_lite", "cfa_lite.*"]), "cfa_lite.models"],
    package_dir={"cfa_lite": "cfa_lite", "cfa_lite.models": "models"},
    cmdclass={"build_py": BuildWithoutMakers},
)
