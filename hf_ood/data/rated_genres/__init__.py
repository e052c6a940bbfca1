"""Sentences of four genres that people rated: films, products, editorials and tweets.

The sentences are those of the VADER study (Hutto & Gilbert 2014), as in `punctuated_text`; here whole
documents are held out, and nothing is added to the sentences.
"""

from .builder import CONFIGURATIONS, RatedGenresConfig, check_options, rated_genres, write_rated_genres

__all__ = ["CONFIGURATIONS", "RatedGenresConfig", "check_options", "rated_genres", "write_rated_genres"]
