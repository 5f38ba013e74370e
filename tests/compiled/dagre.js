// Reads boxes and edges as JSON, prints them as Kubeflow's UI places them (`buildGraphLayout`,
// frontend/src/lib/v2/StaticFlow.ts): dagre with its defaults, boxes of 224 by 48 pixels.
const dagre = require("dagre");

const { boxes, edges } = JSON.parse(require("fs").readFileSync(0));
const graph = new dagre.graphlib.Graph();
graph.setDefaultEdgeLabel(() => ({}));
graph.setGraph({ rankdir: "TB" });
boxes.forEach((box) => graph.setNode(box, { width: 224, height: 48 }));
edges.forEach(([tail, head]) => graph.setEdge(tail, head));
dagre.layout(graph);
console.log(
  JSON.stringify({
    width: graph.graph().width,
    height: graph.graph().height,
    boxes: Object.fromEntries(boxes.map((box) => [box, graph.node(box)])),
  }),
);
