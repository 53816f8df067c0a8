// What the modules pass to each other, for the type checker alone: `tsc -p jsconfig.json`. Nothing here reaches the page.

declare const d3: any;

interface Uint8ArrayConstructor {
  fromBase64?(text: string): Uint8Array<ArrayBuffer>;
}

type Numbers = ArrayLike<number>;
type Child = Node | string | number | null | undefined | false | Child[];
type Props = Record<string, any>;

/** A run folder, packed: see report/bundle.py. */
interface Overview {
  n_cells: number;
  n_features: number;
  feature_bounds: number[];
  gene_bounds: number[];
  label_columns: string[];
  landscape: { rows: Record<string, any>[]; reasons: string[] };
  descriptive: boolean;
  [name: string]: any;
}

interface FeatureTable {
  n: number;
  feature: Uint32Array;
  rowOf: Map<number, number>;
  pools: Record<string, string[]>;
  text(column: string, row: number): string;
  [column: string]: any;
}

interface CellColumn {
  name: string;
  key: string;
  type: "category" | "number";
  names?: string[];
}

interface Cells {
  columns: CellColumn[];
  map: boolean;
  x?: Float32Array;
  y?: Float32Array;
  [key: string]: any;
}

interface Names {
  genes: string[];
  symbols: string[];
  sets: string[];
  labels: [string, string][];
  modalities: string[];
  modality: Numbers;
  geneId: Map<string, number>;
  members(set: number): Iterable<number> & { length: number };
  shown(gene: number): string;
}

interface Run {
  prefix: string;
  overview: Overview;
  features: FeatureTable;
  cells: Cells;
  names: Names | null;
}

/** A packed column over cells: which, and how strongly in 255 levels of the largest. */
interface Levels {
  cells: Uint32Array;
  levels: Uint8Array;
  max: number;
}

interface Columns {
  n: number;
  [name: string]: any;
}

interface Feature extends Levels {
  row: number;
  id: number;
  genes: Columns;
  sets: Columns;
  labels: Columns;
  matches: Columns | null;
  near: { row: number; cosine: number }[];
  together: { row: number; cosine: number }[];
  heat: { id: number; means: Float32Array }[];
}

/** What a view gives to the frame of the page. */
interface View {
  node: Node;
  title: string;
  restyle?(): void;
  free?(): void;
  step?(by: number): void;
}

interface ChartBox extends HTMLDivElement {
  redraw(): void;
  marked?: Set<number> | null;
}

interface PointMap {
  node: HTMLElement;
  n?: number;
  label?: string;
  overlay?: SVGElement;
  colours(bytes: Uint8Array, order?: Uint32Array): void;
  free(): void;
  mark?(list: number[]): void;
  reset?(): void;
  screen?(i: number): number[];
  size?(): { w: number; h: number };
  points?(): { seen: number[]; at(i: number): number[]; radius: number; colour(i: number): { fill: string; opacity: number } };
  snapshot?(): HTMLCanvasElement;
}

interface PanelOptions {
  note?: string | null;
  tools?: Child[];
  wide?: boolean;
  id?: string;
}

interface AxisOptions {
  title?: string;
  format?: ((value: number) => string) | null;
  ticks?: number;
}

interface ScatterOptions {
  label: string;
  xs: Float32Array;
  ys: Float32Array;
  hover?(i: number): string[];
  pick?(i: number): void;
  lasso?(chosen: Uint8Array): void;
  wheel?: "always" | "focus";
  labels?(): { i: number; text: string }[];
}
