"""What `kmq.estimator` builds on: scikit-learn's base classes where it is installed, else twins.

With scikit-learn the estimator is one of its own (``isinstance`` of ``BaseEstimator``, known to
``clone``, pipelines and metadata routing). Without it the same methods work, kmq's own
`PlainEstimator` reads and sets the parameters, and objects pickled on one side load on the other.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from kmq.errors import InputError

if TYPE_CHECKING:
    from typing import Self


class PlainEstimator:
    """Parameters as scikit-learn handles them: named by the constructor, kept as attributes."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's parameters and their values; `deep` makes no difference here."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name and return the estimator.

        Raises:
            InputError: the constructor has no such parameter; nothing is set then.
        """
        valid = inspect.signature(type(self)).parameters
        for name in params:
            if name not in valid:
                raise InputError(
                    f"Invalid parameter {name!r} for estimator {type(self).__name__}; "
                    f"it must be one of {', '.join(valid)}"
                )
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        """Return the constructor's call, with the parameters that are not the default."""
        valid = inspect.signature(type(self)).parameters
        shown = [
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if value is not valid[name].default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


class PlainNotFittedError(InputError, AttributeError):
    """The estimator is used before it is fitted."""


if TYPE_CHECKING:
    Estimator = PlainEstimator
    NotFittedError = PlainNotFittedError
    ConvergenceWarning = UserWarning
else:
    try:
        from sklearn.base import BaseEstimator, ClusterMixin, TransformerMixin
        from sklearn.exceptions import ConvergenceWarning, NotFittedError
    except ImportError:
        Estimator = PlainEstimator
        NotFittedError = PlainNotFittedError
        ConvergenceWarning = UserWarning
    else:

        class Estimator(TransformerMixin, ClusterMixin, BaseEstimator):
            """scikit-learn's bases, and what `kmq.KMeans` takes and gives back."""

            def __sklearn_tags__(self):
                """Return scikit-learn's tags: sparse input is taken, float32 stays float32."""
                tags = super().__sklearn_tags__()
                tags.input_tags.sparse = True
                tags.transformer_tags.preserves_dtype = ["float64", "float32"]
                return tags
