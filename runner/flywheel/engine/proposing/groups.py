"""Failures that go wrong in the same way, by what they show.

HDBSCAN (Campello, Moulavi and Sander 2013) over the failures' tells, weighted by how rare each is (TF-IDF) and reduced
to the directions in which they differ most (latent semantic analysis, Deerwester et al. 1990). It needs no number of
groups, and leaves out what is like nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

#: Directions that are kept, and failures that are a group at least, of so many as a share.
_DIRECTIONS, _FEWEST, _SHARE = 40, 5, 0.03


def grouped(tells: Sequence[Sequence[str]]) -> list[list[int]]:
    """Indices of the failures of each group, largest first. `tells`: names of what each failure shows."""
    import numpy as np
    from sklearn.cluster import HDBSCAN
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    if len(tells) < 2 * _FEWEST or not _shared(tells):
        return []
    weighted = TfidfVectorizer(analyzer=list, min_df=2).fit_transform(tells)
    directions = min(_DIRECTIONS, weighted.shape[1] - 1)
    if len({*map(frozenset, tells)}) > 1 and directions > 0:
        weighted = TruncatedSVD(directions, random_state=0).fit_transform(weighted)
    else:  # in one direction, or none, nothing can be reduced
        weighted = weighted.toarray()
    fewest = max(_FEWEST, round(_SHARE * len(tells)))
    found = HDBSCAN(min_cluster_size=fewest, copy=True, allow_single_cluster=True).fit_predict(normalize(weighted))
    groups = [np.flatnonzero(found == number).tolist() for number in range(found.max() + 1)]
    return sorted(groups, key=lambda group: (-len(group), group))


def _shared(tells: Sequence[Sequence[str]]) -> bool:
    """Whether any two failures show the same."""
    seen: set[str] = set()
    for of_one in tells:
        here = set(of_one)
        if here & seen:
            return True
        seen |= here
    return False
