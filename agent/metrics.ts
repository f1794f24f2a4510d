// What Prometheus is told. One registry an agent, no global state.

import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Outcome } from './reconcile.ts';
import { type NodeState, type Status, soonestExpiry } from './trust/status.ts';

export interface Metrics {
  /** What is told of the node from now on. */
  tell(status: Status): void;
  /** A pass that took so many milliseconds. */
  count(outcome: Outcome, durationMs: number): void;
  /** The Prometheus text format. */
  render(): Promise<string>;
  readonly contentType: string;
}

const states: readonly NodeState[] = ['Applying', 'Waiting', 'Synced', 'Rejected', 'Failed', 'Disabled'];

export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const passes = new Counter({
    name: 'node_trust_passes_total',
    help: 'Passes by the state and reason they ended with',
    labelNames: ['result', 'reason'],
    registers,
  });
  const duration = new Histogram({
    name: 'node_trust_pass_duration_seconds',
    help: 'Duration of a pass',
    buckets: [0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120],
    registers,
  });
  const certificates = new Gauge({
    name: 'node_trust_certificates',
    help: 'Certificates this host trusts on our account',
    registers,
  });
  const expiry = new Gauge({
    name: 'node_trust_soonest_expiry_timestamp_seconds',
    help: 'Soonest notAfter of these certificates, seconds since 1970; 0 without any',
    registers,
  });
  const state = new Gauge({
    name: 'node_trust_state',
    help: '1 for the present state',
    labelNames: ['state'],
    registers,
  });
  const restarts = new Counter({
    name: 'node_trust_runtime_restarts_total',
    help: 'Restarts of the container runtime by this agent',
    registers,
  });
  const repairs = new Counter({
    name: 'node_trust_drift_repairs_total',
    help: 'What somebody else had changed and this agent has repaired',
    labelNames: ['kind'],
    registers,
  });
  return {
    tell({ state: present, trusted }) {
      for (const name of states) state.set({ state: name }, name === present ? 1 : 0);
      if (trusted === undefined) return;
      certificates.set(trusted.certificates.length);
      expiry.set((soonestExpiry(trusted)?.getTime() ?? 0) / 1000);
    },
    count({ status, steps, repaired }, durationMs) {
      passes.inc({ result: status.state, reason: status.reason });
      duration.observe(durationMs / 1000);
      for (const { kind } of repaired) repairs.inc({ kind });
      restarts.inc(steps.filter(({ kind }) => kind === 'restart-runtime').length);
    },
    render: () => registry.metrics(),
    contentType: registry.contentType,
  };
}
