"""The demonstration page, built by its script, served over loopback and drawn on in a browser."""

from __future__ import annotations

import importlib.util
import json
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hf_ood.data.emoji_styles import load_emoji_styles
from hf_ood.evaluation.prediction import load_classifier, predict_logits
from hf_ood.explain import grad_cam

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1100,1000"
).split()
pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine (apt-get install chromium)"),
    pytest.mark.skipif(shutil.which("npm") is None, reason="npm fetches ONNX Runtime Web"),
]
# A page around the page, as wide as a phone, that draws with a finger and tells what it saw.
HARNESS = """<!doctype html>
<iframe id="page" src="index.html" style="width:WIDTHpx;height:844px;border:0"></iframe>
<script type="module">
const frame = document.getElementById("page");
const inside = () => frame.contentDocument;
const tell = found => fetch("/found", { method: "POST", body: JSON.stringify(found) });
const answered = act => new Promise(resolve => {
  inside().addEventListener("answered", event => resolve(event.detail), { once: true });
  act();
});
function touch(kind, x, y) {
  const pad = inside().getElementById("pad"), box = pad.getBoundingClientRect();
  pad.dispatchEvent(new frame.contentWindow.PointerEvent(kind, { bubbles: true, pointerType: "touch",
    clientX: box.left + x * box.width, clientY: box.top + y * box.height }));
}
async function drawn() {
  let last;
  last = await answered(() => touch("pointerdown", 0.5, 0.15));
  for (let y = 0.2; y < 0.9; y += 0.1) last = await answered(() => touch("pointermove", 0.5, y));
  touch("pointerup", 0.5, 0.9);
  return last;
}
try {
  while (!inside().getElementById("status")?.textContent.includes("in your browser"))
    await new Promise(resolve => setTimeout(resolve, 100));
  const first = await answered(() => inside().getElementById("example").click());
  const line = await drawn();
  const pairs = [...inside().querySelectorAll(".pair")];
  const other = await answered(() => pairs.at(-1).click());
  const shown = [...inside().querySelectorAll(".card")].map(card => ({
    digit: card.querySelector(".digit").textContent, sure: card.querySelector(".sure").textContent,
    bars: [...card.querySelectorAll("b")].map(bar => bar.getBoundingClientRect().width),
    colors: new Set(card.querySelector("canvas").getContext("2d").getImageData(0, 0, 96, 96).data).size,
    box: card.getBoundingClientRect().toJSON() }));
  const status = inside().getElementById("status").textContent;
  inside().getElementById("clear").click();
  await tell({ first, line, other, shown, status,
    cleared: [...inside().querySelectorAll(".digit")].map(digit => digit.textContent),
    empty: inside().getElementById("status").textContent,
    content: inside().documentElement.scrollWidth, width: frame.clientWidth,
    targets: Math.min(...[...inside().querySelectorAll("button")].filter(shown => shown.offsetParent)
      .map(button => button.offsetHeight)),
    isolated: frame.contentWindow.crossOriginIsolated });
} catch (error) { await tell({ error: String(error) }); }
</script>"""

# The same for the second tab: opens it, chooses every emoji, and tells what the heads said.
EMOJI_HARNESS = """<!doctype html>
<iframe id="page" src="index.html" style="width:WIDTHpx;height:844px;border:0"></iframe>
<script type="module">
const frame = document.getElementById("page");
const inside = () => frame.contentDocument;
const tell = found => fetch("/found", { method: "POST", body: JSON.stringify(found) });
const named = act => new Promise(resolve => {
  inside().addEventListener("named", event => resolve(event.detail), { once: true });
  act();
});
try {
  while (inside()?.readyState !== "complete" || !inside().getElementById("tab-emoji"))
    await new Promise(resolve => setTimeout(resolve, 100));
  const all = [await named(() => inside().getElementById("tab-emoji").click())];
  const buttons = [...inside().querySelectorAll("#choices button")];
  for (const button of buttons.slice(1)) all.push(await named(() => button.click()));
  const cards = [...inside().querySelectorAll(".style")].map(card => ({
    says: [...card.querySelectorAll(".line b")].map(label => label.textContent),
    shares: [...card.querySelectorAll(".line span:last-child")].map(share => share.textContent),
    widths: [...card.querySelectorAll(".track i")].map(bar =>
      bar.offsetWidth / bar.parentElement.offsetWidth),
    unseen: card.classList.contains("unseen"), wrong: card.querySelectorAll(".said.wrong").length,
    loaded: card.querySelector("img").naturalWidth, box: card.getBoundingClientRect().toJSON() }));
  await tell({ all, cards, truth: inside().getElementById("truth").textContent,
    digits: inside().getElementById("digits").offsetHeight,
    text: inside().getElementById("emoji").textContent, content: inside().documentElement.scrollWidth,
    width: frame.clientWidth, targets: Math.min(...buttons.map(button => button.offsetHeight)) });
} catch (error) { await tell({ error: String(error) }); }
</script>"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page, of networks that trained briefly."""
    sys.path.insert(0, str(ROOT / "docs" / "demo"))  # as for a script
    place = importlib.util.spec_from_file_location("build_demo", ROOT / "docs" / "demo" / "build.py")
    assert place is not None and place.loader is not None
    script = importlib.util.module_from_spec(place)
    place.loader.exec_module(script)
    sys.path.pop(0)
    folder = tmp_path_factory.mktemp("demo")
    quiet = ["--disable_tqdm", "true"]
    script.build(
        folder / "site",
        folder / "runs",
        flags=["--max_steps", "150", *quiet],
        emoji_flags=["--efficientnet_lite.image_size", "32", *quiet],
    )
    return folder / "site"


@pytest.fixture
def found(site: Path) -> Iterator[tuple[str, queue.Queue[dict[str, Any]]]]:
    """Where the page is served, and what is posted there."""
    posted: queue.Queue[dict[str, Any]] = queue.Queue()

    class Handler(SimpleHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", posted
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("width", [390, 1000])
def test_a_digit_is_drawn_and_both_networks_answer(
    width: int, site: Path, found: tuple[str, queue.Queue[dict[str, Any]]], tmp_path: Path
) -> None:
    saw = seen(HARNESS, width, site, found, tmp_path)
    assert not saw["isolated"] and "in your browser" in saw["status"]
    for detail in (saw["first"], saw["line"], saw["other"]):
        assert_as_in_pytorch(detail, site.parent / "runs")
    assert saw["line"]["ink"] == "#ff0000" and saw["other"]["ground"] == "#ffb000"
    shares = {answer["name"]: answer["shares"] for answer in saw["other"]["answers"]}
    for card, each in zip(saw["shown"], shares.values(), strict=True):
        best = int(np.argmax(each))
        assert card["digit"] == str(best) and card["sure"] == f"{100 * each[best]:.0f} %"
        assert int(np.argmax(card["bars"])) == best and card["colors"] > 20
    line, other = (
        np.array(saw[name]["answers"][1]["shares"]) for name in ("line", "other")
    )  # edges do not know colours
    assert np.abs(line - other).max() < 0.1
    left, right = (card["box"] for card in saw["shown"])
    assert left["right"] <= right["left"] and left["top"] == right["top"]  # side by side
    assert saw["content"] <= saw["width"] == width and saw["targets"] >= 44
    assert saw["cleared"] == ["?", "?"] and saw["empty"] == "Draw a digit."


@pytest.mark.parametrize("width", [390, 1000])
def test_every_emoji_is_named_in_six_styles_as_in_pytorch(
    width: int, site: Path, found: tuple[str, queue.Queue[dict[str, Any]]], tmp_path: Path
) -> None:
    saw = seen(EMOJI_HARNESS, width, site, found, tmp_path)
    told = json.loads((site / "emoji.json").read_text())
    styles, labels, heads = (told[name] for name in ("styles", "labels", "heads"))
    assert [style["name"] for style in styles if not style["seen"]] == ["fluent_high_contrast"]
    assert len(saw["all"]) == len(told["emoji"]) == 2 * len(labels) and heads[0]["name"] == "erm"
    test = load_emoji_styles()["test"]
    places = {
        (emoji, style): place
        for place, (emoji, style) in enumerate(zip(test["emoji"], test["environment"], strict=True))
    }
    names = test.features["environment"].names
    rows = test.select(
        [places[each["emoji"], names.index(style["name"])] for each in told["emoji"] for style in styles]
    )
    assert [labels[each] for each in rows["label"][:: len(styles)]] == [
        labels[each["label"]] for each in told["emoji"]
    ]
    for head in heads:
        model, processor = load_classifier(str(site.parent / "runs" / f"emoji_{head['name']}"))
        logits = predict_logits(model, processor, rows, ["image"])
        expected = torch.from_numpy(logits).softmax(1).numpy()
        shares = [
            one["shares"] for each in saw["all"] for one in each["answers"] if one["head"] == head["name"]
        ]
        # The page has an answer of each head after the other: of one head, styles lie in their order.
        assert np.abs(np.array(shares) - expected).max() < 1e-3
    last = saw["all"][-1]["answers"]
    truth = labels[told["emoji"][-1]["label"]]
    for card, style in zip(saw["cards"], styles, strict=True):
        assert card["unseen"] == (not style["seen"]) and card["loaded"] == 64
        for says, share, width_, answer in zip(
            card["says"], card["shares"], card["widths"],
            [one for one in last if one["style"] == style["name"]], strict=True,
        ):  # fmt: skip
            best = int(np.argmax(answer["shares"]))
            assert says == f"{'✓' if labels[best] == truth else '✗'} {labels[best]}"
            assert share == f"{100 * answer['shares'][best]:.0f} %"
            assert width_ == pytest.approx(answer["shares"][best], abs=0.03)
        assert card["wrong"] == sum(says.startswith("✗") for says in card["says"])
    for name in ("its features of these emoji were computed before", "CC BY-SA 4.0", heads[1]["verdict"]):
        assert name in " ".join(saw["text"].split())
    assert truth in saw["truth"] and saw["digits"] == 0 and saw["targets"] >= 44
    assert saw["content"] <= saw["width"] == width
    assert sum(file.stat().st_size for file in (site / "emoji.json", site / "emoji.bin")) < 1_000_000


def seen(
    harness: str, width: int, site: Path, found: tuple[str, queue.Queue[dict[str, Any]]], place: Path
) -> dict[str, Any]:
    """What a page around the page tells, in a browser."""
    address, posted = found
    (site / "harness.html").write_text(harness.replace("WIDTH", str(width)))
    browser = subprocess.Popen(
        [str(CHROMIUM), *FLAGS, f"--user-data-dir={place / 'browser'}", f"{address}/harness.html"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        saw = posted.get(timeout=120)
    finally:
        browser.terminate()
        browser.wait(timeout=30)
    assert "error" not in saw, saw
    return saw


def assert_as_in_pytorch(detail: dict[str, Any], runs: Path) -> None:
    """Probabilities and shading are those of the runs' models on the same picture, in the same colours."""
    ink, ground = (
        np.array([int(detail[name][start : start + 2], 16) for start in (1, 3, 5)])
        for name in ("ink", "ground")
    )
    grey = np.array(detail["grey"]).reshape(28, 28, 1)
    pixels = np.round(ground + grey * (ink - ground)).astype(np.uint8)
    for answer in detail["answers"]:
        model, processor = load_classifier(str(runs / answer["name"]))
        inputs = processor(images=pixels, return_tensors="pt")
        with torch.no_grad():
            shares = model(**inputs).logits.softmax(1)[0].numpy()
        assert np.abs(shares - answer["shares"]).max() < 1e-3
        maps = torch.tensor(answer["map"]).reshape(1, 1, 10, 10)
        shown = torch.nn.functional.interpolate(maps, size=(28, 28), mode="bilinear")[0, 0]
        expected = grad_cam(model, inputs["pixel_values"])[0]
        assert (shown - expected).abs().max() <= 1e-3 * max(1.0, float(expected.max()))
