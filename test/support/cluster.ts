// What a test of the daemon sees of the cluster: the Secret that it applies, the Node on which the agent tells.

import { createHash } from 'node:crypto';
import type { ApiServer } from './api-server.ts';
import type { TestCertificate } from './certificates.ts';

/** Of annotations and labels. */
export const prefix = 'node-trust-agent/';
export const secret = { kind: 'Secret', namespace: 'kube-system', name: 'custom-ca-trust-secret' } as const;

/** The Node's annotations of ours, without their prefix. */
export type Annotations = Readonly<Record<string, string>>;

export function ownAnnotations(
  node: { readonly metadata?: { readonly annotations?: Readonly<Record<string, string>> } } | undefined,
): Annotations {
  const annotations = Object.entries(node?.metadata?.annotations ?? {});
  return Object.fromEntries(
    annotations.flatMap(([name, value]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), value]] : [])),
  );
}

/** Whether a Node's annotations say that these are trusted and no others. */
export function syncedWith(...certificates: readonly TestCertificate[]) {
  const wanted = certificates.map(({ der }) => createHash('sha256').update(der).digest('hex')).sort();
  return ({ state, details = '{}' }: Annotations): boolean => {
    const { certificates: told = [] } = JSON.parse(details) as {
      readonly certificates?: readonly { readonly fingerprint: string }[];
    };
    return (
      state === 'Synced' &&
      told
        .map(({ fingerprint }) => fingerprint)
        .sort()
        .join() === wanted.join()
    );
  };
}

export interface Cluster {
  apply(entries: Readonly<Record<string, string>>, more?: Readonly<Record<string, unknown>>): void;
  labelNode(labels: Readonly<Record<string, string>>, annotations?: Annotations): void;
  read(): Annotations;
  /** The annotations, once a write of the agent has made them so. */
  says(predicate: (annotations: Annotations) => boolean): Promise<Annotations>;
  /** Waits for so many more reads of the Secret: passes that were made. */
  passes(count: number): Promise<void>;
}

export function createCluster(api: ApiServer, nodeName: string): Cluster {
  api.put({ kind: 'Node', metadata: { name: nodeName } });
  const read = (): Annotations => ownAnnotations(api.get({ kind: 'Node', name: nodeName }));
  return {
    apply(entries, more = {}) {
      const { kind, ...place } = secret;
      const { metadata, ...rest } = more;
      api.put({ kind, metadata: { ...place, ...(metadata as object) }, type: 'Opaque', stringData: entries, ...rest });
    },
    labelNode(labels, annotations = {}) {
      const known = api.get({ kind: 'Node', name: nodeName })?.metadata.annotations;
      const added = Object.fromEntries(Object.entries(annotations).map(([name, value]) => [prefix + name, value]));
      api.put({ kind: 'Node', metadata: { name: nodeName, labels, annotations: { ...known, ...added } } });
    },
    read,
    async says(predicate) {
      await api.seen(({ verb, resource }) => verb === 'patch' && resource === 'nodes' && predicate(read()));
      return read();
    },
    async passes(count) {
      const isRead = ({ verb, resource }: { readonly verb: string; readonly resource: string }): boolean =>
        verb === 'get' && resource === 'secrets';
      await api.seen(isRead, api.journal.filter(isRead).length + count);
    },
  };
}
