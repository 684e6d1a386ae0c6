import base64
import json
import math
import re

from utils.evaluation.evaluate import OperatingPoint
from utils.evaluation.results import json_value, report_page


def test_what_is_not_a_number_is_null_and_a_name_stays_as_it_is():
    point = OperatingPoint(math.nan, 0.5, 0.5, 0.5)
    values = dict(per_class={"NaN": dict(AP=math.nan)}, point=point, notes=["NaN"])
    assert json.loads(json.dumps(json_value(values))) == dict(
        per_class={"NaN": dict(AP=None)},
        point=dict(threshold=None, precision=0.5, recall=0.5, f1=0.5),
        notes=["NaN"],
    )


def test_a_page_holds_the_conditions_the_table_and_the_pictures(tmp_path):
    (tmp_path / "quality.png").write_bytes(b"picture")
    page = report_page(dict(split="val", classes=3), "AP  0.5 <b>", tmp_path)
    assert "split" in page and "val" in page and "AP  0.5 &lt;b&gt;" in page
    [content] = re.findall(r"data:image/png;base64,([^']+)'", page)
    assert base64.b64decode(content) == b"picture"
    assert "http" not in page, "nothing is fetched from elsewhere"


def test_a_picture_that_is_not_there_is_left_out(tmp_path):
    assert "<img" not in report_page({}, "", tmp_path)
