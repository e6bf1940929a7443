"""How a config says that list files are written."""

from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.lists import ListFormat


def list_format(config: Config) -> ListFormat:
    """The format of the dataset's list files."""
    data = config.DATA
    return ListFormat(data.PATH_PREFIX, data.PATH_LABEL_SEPARATOR, data.LIST_COLUMNS, data.SKIP_ROWS)
