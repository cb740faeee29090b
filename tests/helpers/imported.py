"""What processes of the tests find imported when they begin; see `forked`."""

import os

from rerax.cli.programs import quieten

quieten(os.environ)  # as the command line does before it imports JAX

import pandas  # noqa: E402, F401
import quick_campaign  # noqa: E402, F401
import transformers.models.auto.tokenization_auto  # noqa: E402
import transformers.tokenization_utils_tokenizers  # noqa: E402, F401

import rerax.campaign.runner  # noqa: E402
import rerax.campaign.worker  # noqa: E402
import rerax.cli  # noqa: E402, F401
