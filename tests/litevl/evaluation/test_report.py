"""Results as pages."""

from litevl.evaluation.report import write_section


def test_a_page_keeps_its_other_sections(tmp_path):
    page = tmp_path / "RESULTS.md"
    for title, text in (("One", "1"), ("Two", "2"), ("One", "3")):
        write_section(page, title, text)
    assert page.read_text() == "# Results\n\n## One\n\n3\n\n## Two\n\n2\n"
