"""The interface of an outlier detector of scikit-learn. Scoring does not import scikit-learn."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

from ..errors import ImageError
from ..features.images import ImageLike
from ..results import Inspection

_Self = TypeVar("_Self", bound="OutlierDetectorContract")
_UNSCORED = 2.0  # score of an INVALID image without a score, in units of the limit


class OutlierDetectorContract:
    """Parameters by name, predictions as +1 and -1, and the tags of scikit-learn.

    A subclass has `fit`, `inspect_many` and `threshold_`.
    """

    _estimator_type = "outlier_detector"  # scikit-learn before 1.6

    @property
    def threshold_(self) -> float:
        """The limit of the raw score."""
        raise NotImplementedError

    def inspect_many(self, images: ImageLike | Iterable[ImageLike]) -> Iterator[Inspection]:
        """Inspect images in order."""
        raise NotImplementedError

    def fit(self: _Self, X: Any, y: Any = None) -> _Self:  # noqa: N803
        """Fit the model."""
        raise NotImplementedError

    @classmethod
    def _parameter_defaults(cls) -> dict[str, Any]:
        """Return the constructor's parameters with their defaults."""
        signature = inspect.signature(cls.__init__)
        return {p.name: p.default for p in list(signature.parameters.values())[1:] if p.kind != p.VAR_KEYWORD}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters of the constructor by name; `deep` exists for scikit-learn and changes nothing."""
        return {name: getattr(self, name) for name in self._parameter_defaults()}

    def set_params(self: _Self, **params: Any) -> _Self:
        """Set parameters by name.

        What a fitted model has learned stays as it is: only `min_area`, `mm_per_pixel`, `checks`, `max_megapixels` and
        `threads` have an effect before the next fit.

        Raises
        ------
        ValueError
            If a name is not a parameter.
        """
        known = self._parameter_defaults()
        for name, value in params.items():
            if name not in known:
                raise ValueError(
                    f"{name!r} is not a parameter of {type(self).__name__}. Its parameters are {', '.join(known)}."
                )
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        """Show the parameters that differ from their defaults."""
        defaults = self._parameter_defaults()
        changed = (
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if value is not defaults[name] and not np.array_equal(value, defaults[name])
        )
        return f"{type(self).__name__}({', '.join(changed)})"

    def score_samples(self, X: ImageLike | Iterable[ImageLike]) -> np.ndarray:  # noqa: N803
        """Return the negative raw score of each image: the higher, the more normal.

        Parameters
        ----------
        X : folder, or iterable of images as for `inspect_many`

        Returns
        -------
        ndarray of shape (n,), float64

        Raises
        ------
        ImageError
            If an image cannot be read, because it has no score. Use `inspect_many` to continue after such images.

        Notes
        -----
        Regions below `min_area` are lowered to the limit first. An INVALID image was not inspected, so its value is
        beyond the limit for any score.
        """
        lowest = float(np.nextafter(np.float32(1), np.float32(2)))
        scores = []
        for result in self.inspect_many(X):
            if result.status == "error":
                raise ImageError(result.message)
            score = _UNSCORED if np.isnan(result.score) else result.score
            scores.append(score if result.status == "ok" else max(score, lowest))
        return -np.array(scores, np.float64) * self.threshold_

    def decision_function(self, X: ImageLike | Iterable[ImageLike]) -> np.ndarray:  # noqa: N803
        """Return the signed distance of each image from the limit: below 0 it is NG or INVALID, otherwise it is good.

        Parameters, return value and errors are those of `score_samples`.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: ImageLike | Iterable[ImageLike]) -> np.ndarray:  # noqa: N803
        """Return +1 for each good image (OK or UNSURE) and -1 for each NG or INVALID image, as an ndarray of int.

        Parameters and errors are those of `score_samples`.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def fit_predict(self, X: ImageLike | Iterable[ImageLike], y: Any = None) -> np.ndarray:  # noqa: N803
        """Fit the model to images and predict them."""
        listed = X if isinstance(X, (str, bytes)) or hasattr(X, "__fspath__") else list(X)  # type: ignore[arg-type]
        return self.fit(listed).predict(listed)

    @property
    def offset_(self) -> float:
        """The negative limit: decision_function = score_samples - offset_."""
        return -self.threshold_

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether the model is fitted."""
        return hasattr(self, "fitted_")

    def __sklearn_tags__(self) -> Any:
        """Return the tags of scikit-learn 1.6 and later."""
        from sklearn.utils import InputTags, Tags, TargetTags

        return Tags(
            estimator_type="outlier_detector",
            target_tags=TargetTags(required=False),
            input_tags=InputTags(two_d_array=False, string=True),
            requires_fit=True,
        )

    def _more_tags(self) -> dict[str, Any]:
        """Return the tags of scikit-learn before 1.6: images are not rows of a two-dimensional array."""
        return {"X_types": ["string"], "requires_fit": True}

    def _repr_html_(self) -> str:
        """Show the model in a notebook as scikit-learn shows its estimators."""
        from sklearn.utils import estimator_html_repr

        return str(estimator_html_repr(self))
