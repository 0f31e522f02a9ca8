"""Pictures that a run left on its way."""

from invgraph.report.pictures import data_uris
from invgraph.runs.reader import RunContents

SHOWN = 6
BUDGET = 600_000  # bytes of all pictures


def previews_section(
    folder: RunContents, title: str = "How it came about", word: str = "step", hint: str = ""
) -> str:
    """Some of ``renders/preview_NUMBER.png``, as HTML; empty without any.

    Args:
        title: of the section.
        word: what the number counts.
        hint: what the pictures show.
    """
    step = max(1, -(-len(folder.previews) // SHOWN))
    # Counted from the end, so that the last one is always there.
    chosen = folder.previews[::-1][::step][::-1]
    uris = data_uris([path for _, path in chosen], BUDGET)
    figures = "".join(
        f'<figure><img alt="Preview at {word} {number}" src="{uri}">{word} {number}</figure>'
        for (number, _), uri in zip(chosen, uris, strict=True)
        if uri
    )
    if not figures:
        return ""
    words = f'<p class="hint">{hint}</p>' if hint else ""
    return (
        f'<section aria-labelledby="previews-title"><h2 id="previews-title">{title}</h2>'
        f'{words}<div class="strip">{figures}</div></section>'
    )
