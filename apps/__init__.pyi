from apps.from_python import LoadedRun as LoadedRun
from apps.from_python import load_run as load_run
from apps.pretrained import from_pretrained as from_pretrained
from apps.runs.listing import list_runs as list_runs
