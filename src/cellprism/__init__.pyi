# The one list of public names: type checkers read it, and the package takes from here what it imports on use.
# A function must not share its name with a room or file beside this one: importing that would take the function's place.

from . import data as data
from . import datasets as datasets
from . import embed as embed
from . import errors as errors
from . import evaluation as evaluation
from . import features as features
from . import genesets as genesets
from . import pl as pl
from . import recovery as recovery
from . import report as report
from . import run as run
from . import sae as sae
from . import simulate as simulate
from . import stats as stats
from . import steering as steering
from . import tl as tl
from .errors import InputError as InputError
from .evaluation.evaluate import evaluate as evaluate
from .evaluation.result import Evaluation as Evaluation
from .features.annotate import Annotation as Annotation
from .features.annotate import annotate as annotate
from .features.differential import differential as differential
from .features.export import feature_network as feature_network
from .features.export import feature_sets as feature_sets
from .features.matching import match as match
from .report.notebook import view as view
from .run.folder import RunFolder as RunFolder
from .sae.config import SAEConfig as SAEConfig
from .sae.consensus import consensus as consensus
from .sae.fit import Fit as Fit
from .sae.front import fit as fit
from .sae.interchange import export_sae as export_sae
from .sae.interchange import import_sae as import_sae
from .sae.io import load as load
from .sae.many import fit_many as fit_many
from .sae.model import SAE as SAE
from .sae.recipe import Recipe as Recipe
from .sae.recipe import choose_recipe as choose_recipe
from .sae.recipe import fit_auto as fit_auto
from .sae.trainer import DivergedError as DivergedError
from .steering.clean import clean as clean
from .steering.edit import steer as steer
from .steering.effect import effect as effect
from .steering.linked import linked as linked
from .steering.screen import screen as screen

__version__: str
