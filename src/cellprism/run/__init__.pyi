from .folder import RunFolder as RunFolder
from .options import RunOptions as RunOptions
from .pipeline import run as run
