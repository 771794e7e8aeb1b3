"""The picture of the necks' benchmark."""

from typing import Any

from matplotlib.patches import Rectangle

from experiments.benchmarks.neck_report import drawn


def test_a_neck_has_the_same_place_in_both_phases_even_where_another_was_not_measured() -> None:
    def row(neck: str, phase: str, **found: Any) -> dict[str, Any]:
        setting = {"side": 640, "batch": 8, "precision": "fp32", "mode": "eager"}
        return {"neck": neck, "phase": phase, **(setting | found)}

    figure = drawn(
        [
            row("a", "inference", over_floor={"ours": 1.0}),
            row("a", "training", over_floor={"ours": 2.0}),
            row("b", "inference", over_floor={"ours": 1.5}),
            row("b", "training", skipped="one round takes 98 s"),
            row("c", "inference", over_floor={"ours": 1.2}),
            row("c", "training", over_floor={"ours": 1.4}),
            row("c", "training", over_floor={"ours": 9.0}, side=1024),
        ]
    )

    inference, training = (
        {bar.get_width(): bar.get_y() for bar in axes.patches if isinstance(bar, Rectangle)} for axes in figure.axes
    )
    assert set(training) == {2.0, 1.4}
    assert training[2.0] == inference[1.0]
    assert training[1.4] == inference[1.2]
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
