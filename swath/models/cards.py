"""Cards: who published a system, under which licences, its variants and figures, and what was verified here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A size of a system, with its published parameter count.

    >>> Variant(name="base", parameters=6_377_088).parameters
    6377088
    """

    name: str
    parameters: int
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number: what was measured, on what, by whom, and how to measure it again.

    `value` is a share (0 to 1) unless `unit` says otherwise. `command` is empty for figures that others reported.
    """

    metric: str
    value: float
    data: str
    source: str
    unit: str = ""
    command: str = ""
    seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class Card:
    """Everything to know about a system before using it.

    `choices` are decisions taken where the sources are silent or disagree; `limits` says where it fails.
    `reported` figures are the authors', `verified` ones were measured with this code.
    """

    name: str
    title: str
    summary: str
    citation: str
    paper: str
    code: str
    code_licence: str
    weights_licence: str
    data_licence: str = ""
    variants: tuple[Variant, ...] = ()
    reported: tuple[Figure, ...] = ()
    verified: tuple[Figure, ...] = ()
    choices: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    training: str = ""

    def to_markdown(self) -> str:
        """Write the card as a page; the same card always gives the same text.

        >>> card = Card(name="x", title="X", summary="A test.", citation="Me 2024.", paper="-", code="-",
        ...             code_licence="MIT", weights_licence="MIT")
        >>> card.to_markdown().splitlines()[0]
        '# X'
        """
        parts = [f"# {self.title}", self.summary, self._facts()]
        if self.variants:
            rows = [f"| {v.name} | {v.parameters:,} | {v.note} |" for v in self.variants]
            parts.append("\n".join(["## Variants", "", "| variant | parameters | note |", "|---|---|---|", *rows]))
        for heading, figures in (
            ("Measured here", self.verified),
            ("Reported by the authors", self.reported),
        ):
            if figures:
                parts.append(f"## {heading}\n\n" + "\n".join(_figure_line(figure) for figure in figures))
        for heading, lines in (("Choices", self.choices), ("Limits", self.limits)):
            if lines:
                parts.append(f"## {heading}\n\n" + "\n".join(f"- {line}" for line in lines))
        if self.training:
            parts.append(f"## Training\n\n{self.training}")
        return "\n\n".join(parts) + "\n"

    def _facts(self) -> str:
        rows = (
            ("Citation", self.citation),
            ("Paper", self.paper),
            ("Code of the authors", self.code),
            ("Licence of that code", self.code_licence),
            ("Licence of the weights", self.weights_licence),
            ("Licence of the data", self.data_licence),
        )
        return "\n".join(f"- **{name}**: {value}" for name, value in rows if value)


def _figure_line(figure: Figure) -> str:
    number = f"{figure.value:.4g} {figure.unit}".strip()
    seed = "" if figure.seed is None else f", seed {figure.seed}"
    command = f"\n  `{figure.command}`" if figure.command else ""
    return f"- {figure.metric}: **{number}** on {figure.data} ({figure.source}{seed}){command}"
