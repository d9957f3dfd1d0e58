from tests.acceptance.stage import stage

__all__ = ["stage"]
