"""Checks of our networks against golden vectors: `python -m tools.golden DIR`, or `make golden GOLDEN=DIR`.

A check is a generator in a file of this folder (found by itself, nothing to list elsewhere):

    @check("brancati")                     # the pair DIR/brancati.json + brancati.npz
    def brancati(golden):
        head = GridAttention(...)          # sizes from golden.shape(key), cases from golden.meta
        golden.load(head, {"conv": "filters", "linear": "classify"})
        yield "g7x5/logits", head(...)     # name in meta["arrays"], full array or tensor

Every array that DIR lists must be yielded, once. `@check(name, by_prefix=True)` prints one line per part before the
first slash. Nothing about sizes, seeds, lengths or tolerances is written here: all comes from DIR.
"""
