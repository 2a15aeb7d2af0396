"""Mutated WDL: a plan that its readers take, or an error that says where."""

from __future__ import annotations

from random import Random

import pytest

from .mutations import corpus, mutated
from .oracle import check_text

SEED = 1
CASES = 250


def test_the_corpus_itself_compiles():
    texts = corpus()
    assert sum(check_text(text) is not None for text in texts) > len(texts) / 2


@pytest.mark.timeout(600)
def test_mutated_sources_are_refused_or_compile():
    random, texts = Random(SEED), corpus()
    accepted = sum(check_text(mutated(random, texts)) is not None for _ in range(CASES))
    assert 0 < accepted < CASES
