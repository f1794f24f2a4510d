// Single passes over a sandbox, with a clock and a source in the test's hand: no loop, no API server.

import { type Host, type HostOptions, openHost } from '../../agent/host/host.ts';
import { createHostRoot } from '../../agent/host/root.ts';
import { type Outcome, type PassContext, reconcile } from '../../agent/reconcile.ts';
import type { SourceSnapshot } from '../../agent/trust/source.ts';
import type { Status } from '../../agent/trust/status.ts';
import { fixedNow, type TestCertificate } from './certificates.ts';
import type { EmptyRoot } from './sandbox.ts';

export interface PassOptions extends Partial<Omit<PassContext, 'source' | 'now' | 'openHost'>> {
  /** Seconds after the fixed instant of the tests. */
  readonly at?: number;
  /** Puts something between the pass and the host. */
  readonly wrap?: (host: Host) => Host;
  readonly signal?: AbortSignal;
  readonly healthTimeoutMs?: number;
  /** Of a kubelet; none where missing. */
  readonly healthz?: string;
  /** 'required' where missing. */
  readonly runtime?: HostOptions['runtime'];
}

export interface Passed extends Outcome {
  /** All that was reported on the way, the last included. */
  readonly reports: readonly Status[];
}

export function present(...certificates: readonly TestCertificate[]): SourceSnapshot {
  const entries = new Map(certificates.map(({ pem }, index) => [`ca-${index}.pem`, Buffer.from(pem)]));
  return { kind: 'present', entries, onDelete: 'grace' };
}

export async function pass({ root }: EmptyRoot, snapshot: SourceSnapshot, options: PassOptions = {}): Promise<Passed> {
  const {
    at = 0,
    wrap = (host: Host) => host,
    runtime = 'required',
    healthTimeoutMs = 2_000,
    healthz,
    ...others
  } = options;
  const { signal = new AbortController().signal, ...rest } = others;
  const now = (): Date => new Date(fixedNow.getTime() + at * 1000);
  const hostOptions = {
    root: createHostRoot(root),
    runtime,
    now,
    healthTimeoutMs,
    ...(healthz !== undefined && { healthz }),
  };
  const reports: Status[] = [];
  const outcome = await reconcile(
    {
      source: { name: 'the source', read: () => Promise.resolve(snapshot) },
      openHost: async () => wrap(await openHost(hostOptions)),
      chooseAim: () => Promise.resolve('follow'),
      now,
      graceMs: 600_000,
      restartDelayMs: 0,
      restartIntervalMs: 0,
      admission: { maxCertificates: 10, allowNonCa: false },
      retryMark: '',
      isNews: () => true,
      report: (status) => Promise.resolve(void reports.push(status)),
      onStep: () => {},
      ...rest,
    },
    signal,
  );
  return { ...outcome, reports };
}
