"""`zkalert schema`: the JSON Schemas of the files that people write, for editors and other tools."""

from __future__ import annotations

import click

from zkalert import documents
from zkalert.metrics import nearest

_SUFFIX = ".schema.json"
_KINDS = sorted(path.name.removesuffix(_SUFFIX) for path in documents.shipped("schemas").glob(f"*{_SUFFIX}"))


def _known(ctx: click.Context, param: click.Parameter, kind: str) -> str:
    """A schema that ships with zkalert; a slip is a usage error that names the nearest one."""
    if kind not in _KINDS:
        near = nearest(kind, _KINDS)
        cure = f"did you mean {near}?" if near else "expected one of " + ", ".join(_KINDS)
        raise click.BadParameter(f'no schema "{kind}"; {cure}', ctx, param)
    return kind


@click.command()
@click.argument("kind", default="rules", metavar=f"[{'|'.join(_KINDS)}]", callback=_known)
def schema(kind: str) -> None:
    """Print the JSON Schema of one kind of file: of rules, unless another one is named.

    Editors with yaml-language-server (VS Code, Neovim, Emacs, Helix, ...) complete, explain and check files that name
    their schema in the first line. Keep one beside them:

    \b
      zkalert schema rules > rules.schema.json
      zkalert schema config > config.schema.json

    \b
    and begin a rule file with
      # yaml-language-server: $schema=rules.schema.json
    """  # noqa: D301 - click looks for the very character
    click.echo(documents.schema_bytes(kind), nl=False)
