from tests.docs.pictures import GRAPH, draw_graph


def test_picture_of_the_graph_is_that_of_the_compiled_pipeline() -> None:
    assert GRAPH.read_text(encoding="utf-8") == draw_graph(), "python -m tests.docs.pictures draws it anew"
