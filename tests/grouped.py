"""Options by single names, as tables in tests have them, in the groups that the doors take."""

import kmq


def grouped(**flat):
    """Return arguments of `kmq.quantize` and `encode`; `fewest` has those of `kmq.Fewest`."""
    fixed = {name: flat.pop(name) for name in ("fixed", "snap", "posterize") if name in flat}
    if fixed:
        flat["require"] = kmq.Require(**fixed)
    names = ("init", "n_init", "max_iter", "tol", "seed")
    start = {name: flat.pop(name) for name in names if name in flat}
    if start:
        flat["start"] = kmq.Start(**start)
    if "channel_weights" in flat:
        flat["space"] = kmq.Space(flat.get("space"), channel_weights=flat.pop("channel_weights"))
    if "dither" in flat or "dither_method" in flat:
        flat["mapping"] = kmq.Dither(
            flat.pop("dither", None), method=flat.pop("dither_method", None)
        )
    if "lam" in flat:
        flat["mapping"] = kmq.Rate(flat.pop("lam"))
    if "fewest" in flat:
        flat["k"] = kmq.Fewest(**flat.pop("fewest"))
    return flat
