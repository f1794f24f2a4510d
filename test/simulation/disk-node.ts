// What lies on the simulated disk: files, links and folders, each with how to undo what of it is not synced.

export interface FileNode {
  readonly kind: 'file';
  readonly ino: number;
  content: Buffer;
  changed: bigint;
  /** What is on the platter, where that is not the content. */
  unsynced: { readonly durable: Buffer; readonly sinceMs: number } | undefined;
}
export interface LinkNode {
  readonly kind: 'link';
  readonly ino: number;
  readonly target: string;
  readonly changed: bigint;
}
export interface FolderNode {
  readonly kind: 'folder';
  readonly ino: number;
  changed: bigint;
  readonly children: Map<string, DiskNode>;
  /** How to undo what was not synced, in order. */
  readonly journal: {
    readonly sinceMs: number;
    readonly before: readonly (readonly [string, DiskNode | undefined])[];
  }[];
}
export type DiskNode = FileNode | LinkNode | FolderNode;

/** What is undefined is taken away. */
export function setNames(folder: FolderNode, changes: readonly (readonly [string, DiskNode | undefined])[]): void {
  for (const [child, node] of changes) {
    if (node === undefined) folder.children.delete(child);
    else folder.children.set(child, node);
  }
}

/** It, and all that is below it. */
export function visit(node: DiskNode, see: (node: DiskNode) => void): void {
  see(node);
  if (node.kind === 'folder') for (const child of node.children.values()) visit(child, see);
}
