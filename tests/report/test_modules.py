import shutil
import subprocess

import pytest

from cellprism.report.modules import link

LEAF = "export const one = 1;\nexport function two() {\n  return one + 1;\n}\n"


def test_links_in_order_of_need_and_runs(tmp_path):
    script = link(
        {"app.js": 'import { two, one } from "./leaf.js";\nglobalThis.answer = two() + one;\n', "leaf.js": LEAF},
        "app.js",
    )
    assert script.index("// leaf.js") < script.index("// app.js")
    assert "import" not in script
    assert "export" not in script
    if shutil.which("node"):
        path = tmp_path / "page.js"
        path.write_text(script + "if (globalThis.answer !== 3) throw new Error();")
        subprocess.run(["node", str(path)], check=True)


REFUSED = {
    "unknown module": ({"app.js": 'import { a } from "./b.js";\n'}, "imports b.js, which does not exist"),
    "unknown name": ({"app.js": 'import { a } from "./leaf.js";\n', "leaf.js": LEAF}, "imports a, which leaf.js does not"),
    "circle": (
        {"app.js": 'import { a } from "./b.js";\n', "b.js": 'import { c } from "./app.js";\nexport const a = 1;\n'},
        "circle: app.js -> b.js -> app.js",
    ),
    "default export": ({"app.js": "export default 1;\n"}, "does not know: export default 1;"),
    "star import": ({"app.js": 'import * as d3 from "d3";\n'}, "does not know: import"),
}  # fmt: skip


@pytest.mark.parametrize(("modules", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses_what_it_cannot_link(modules, message):
    with pytest.raises(ValueError, match=message.replace(".", r"\.").replace("*", r"\*")):
        link(modules, "app.js")
