// Carries out what a pass would on a sandbox: observe, plan, apply, without source and report.

import assert from 'node:assert/strict';
import { type Host, openHost } from '../../agent/host/host.ts';
import { createHostRoot } from '../../agent/host/root.ts';
import { createBundle, type TrustBundle } from '../../agent/trust/bundle.ts';
import { type Certificate, parseCertificate } from '../../agent/trust/certificate.ts';
import { planTrust, type Step } from '../../agent/trust/plan.ts';
import { fixedNow, type TestCertificate } from './certificates.ts';
import type { EmptyRoot } from './sandbox.ts';

const { signal } = new AbortController();

export function openSandbox({ root }: EmptyRoot, runtime: 'required' | 'optional' = 'required'): Promise<Host> {
  return openHost({ root: createHostRoot(root), runtime, now: () => fixedNow, healthTimeoutMs: 2_000 });
}

export function parse({ der }: TestCertificate): Certificate {
  const parsed = parseCertificate(der);
  assert(parsed.kind === 'certificate');
  return parsed.certificate;
}

export function bundleOf(certificates: readonly TestCertificate[]): TrustBundle {
  return createBundle(certificates.map(parse));
}

export async function planFor(
  host: Host,
  wanted: readonly TestCertificate[],
  look: 'glance' | 'ask' = 'glance',
): Promise<readonly Step[]> {
  return planTrust(bundleOf(wanted), await host.observe(look, signal));
}

export interface Reached {
  readonly steps: readonly Step['kind'][];
  readonly warnings: readonly string[];
}

/** One pass of a new process, which may look and plan again, and the proof that nothing is left to do after it. */
export async function reach(sandbox: EmptyRoot, wanted: readonly TestCertificate[]): Promise<Reached> {
  const host = await openSandbox(sandbox, 'optional');
  const plan: Step[] = [];
  const warnings: string[] = [];
  for (let round = 1; round <= 3; round += 1) {
    const steps = await planFor(host, wanted, round === 1 ? 'glance' : 'ask');
    for (const step of steps) {
      const told = await host.apply(step, signal);
      if (told === 'outdated') break;
      warnings.push(...told);
      plan.push(step);
    }
  }
  assert.deepEqual(await planFor(await openSandbox(sandbox, 'optional'), wanted), []);
  return { steps: plan.map(({ kind }) => kind), warnings };
}
