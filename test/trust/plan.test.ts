import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type BundleDigest, createBundle, emptyBundle, type TrustBundle } from '../../agent/trust/bundle.ts';
import type { Certificate, Fingerprint } from '../../agent/trust/certificate.ts';
import { type AnchorName, anchorName, type Observation, type RuntimeRecord } from '../../agent/trust/observation.ts';
import { describeStep, planTrust, type Step } from '../../agent/trust/plan.ts';
import { makeBundle, makeCertificate } from '../support/bundles.ts';

const unit = 'containerd.service';
const [one, two, three] = [
  makeCertificate('Root One'),
  makeCertificate('Root Two'),
  makeCertificate('Root Three'),
] as const;
const certificates = [one, two, three];

/** A host reduced to what the plan knows of it; each step does what its kind promises. */
class ModelHost {
  anchors = new Map<AnchorName, Certificate>();
  derived = new Set<AnchorName>();
  bundle = new Set<Fingerprint>();
  withdrawn = new Set<AnchorName>();
  version = 1;
  record: RuntimeRecord = {};
  process = 1;
  /** What the running process loaded at its start. */
  loaded = new Set<Fingerprint>();
  restarts = 0;

  observe(): Observation {
    const anchors = [...this.anchors].map(([name, certificate]) => ({ name, certificate }));
    const indexed = new Set(
      anchors.flatMap(({ name, certificate }) => (this.derived.has(name) ? [certificate.fingerprint] : [])),
    );
    return {
      store: {
        anchors,
        derived: [...this.derived],
        tool: '',
        version: `${this.version}`,
        bundle: new Set(this.bundle),
        indexed,
        returned: [...this.bundle].filter(
          (print) => this.withdrawn.has(anchorName(print)) && !this.anchors.has(anchorName(print)),
        ),
        stillTrusted: [],
      },
      runtime: { kind: 'running', unit, invocationId: `process-${this.process}` },
      record: this.record,
    };
  }

  apply(step: Step): void {
    switch (step.kind) {
      case 'stage-store':
        return;
      case 'note-before':
        this.record = {
          rebuild: { bundle: step.bundle, at: '', before: `process-${this.process}` },
          ...(this.record.loaded?.bundle === step.bundle && { loaded: this.record.loaded }),
        };
        return;
      case 'write-anchor':
        this.withdrawn.delete(anchorName(step.certificate.fingerprint));
        this.anchors.set(anchorName(step.certificate.fingerprint), step.certificate);
        return;
      case 'unindex':
        for (const name of step.names) this.derived.delete(name);
        return;
      case 'remove-anchor':
        this.withdrawn.add(step.name);
        this.anchors.delete(step.name);
        return;
      case 'rebuild-store':
        this.rebuildStore();
        this.noteRebuild({ version: `${this.version}` });
        return;
      case 'reindex':
        this.derived = new Set(this.anchors.keys());
        return;
      case 'note-after':
        this.noteRebuild({ after: `process-${this.process}` });
        return;
      case 'restart-runtime':
        this.restart();
        this.restarts += 1;
        return;
      case 'note-loaded':
        this.noteLoaded(step.bundle, step.version ?? this.record.rebuild?.version);
        return;
      case 'await-runtime':
      case 'await-healthy':
        return;
      default:
        step satisfies never;
    }
  }

  noteRebuild(change: Partial<NonNullable<RuntimeRecord['rebuild']>>): void {
    assert(this.record.rebuild !== undefined);
    this.record = { ...this.record, rebuild: { ...this.record.rebuild, ...change } };
  }

  noteLoaded(bundle: BundleDigest, expected: string | undefined): void {
    const version = `${this.version}`;
    if (version !== expected) return;
    this.record = { ...this.record, loaded: { invocationId: `process-${this.process}`, bundle, version } };
  }

  rebuildStore(): void {
    this.version += 1;
    this.bundle = new Set([...this.anchors.values()].map(({ fingerprint }) => fingerprint));
    this.derived = new Set(this.anchors.keys());
  }

  /** Half of a bundle, as of two tools at once. */
  damage(): void {
    this.version += 1;
    this.bundle = new Set([...this.bundle].slice(1));
  }

  restart(): void {
    this.process += 1;
    this.loaded = new Set(this.bundle);
  }

  /** As a pass does: what the plan wants after it was carried out, once more. */
  carryOut(desired: TrustBundle): readonly Step[] {
    const rounds = [1, 2].map(() => {
      const plan = planTrust(desired, this.observe());
      for (const step of plan) this.apply(step);
      return plan;
    });
    return rounds.flat();
  }

  assertTrusts(desired: TrustBundle): void {
    assert.deepEqual(planTrust(desired, this.observe()), []);
    const wanted = desired.certificates.map(({ fingerprint }) => fingerprint).sort();
    assert.deepEqual([...this.bundle].sort(), wanted);
    assert.deepEqual([...this.loaded].sort(), wanted, 'what the process really loaded');
  }
}

const bundles = fc.subarray(certificates).map((chosen) => createBundle(chosen));

test('a host that was never touched and shall trust nothing needs nothing', () => {
  assert.deepEqual(planTrust(emptyBundle, new ModelHost().observe()), []);
});

test('the first certificate is staged, written, built in, and taken up by one restart between records', () => {
  const plan = new ModelHost().carryOut(makeBundle(one));
  assert.deepEqual(
    plan.map(({ kind }) => kind),
    [
      'stage-store',
      'note-before',
      'write-anchor',
      'rebuild-store',
      'note-after',
      'restart-runtime',
      'await-healthy',
      'note-loaded',
    ],
  );
});

test('a plan reads as sentences', () => {
  const digest = makeBundle(one).digest.slice(0, 19);
  assert.deepEqual(planTrust(makeBundle(one), new ModelHost().observe()).map(describeStep), [
    'build the new store beside the real one and verify it (1 certificate of ours)',
    `record which process of the runtime runs before the rebuild to ${digest}`,
    `write ${anchorName(one.fingerprint)} (CN=Root One)`,
    'rebuild the store and read back 1 certificate of ours',
    `record which process of the runtime runs after the rebuild to ${digest}`,
    'restart containerd.service so that it loads the store',
    'wait until containerd.service is healthy',
    `record that the running containerd.service loaded ${digest}`,
  ]);
});

test('what goes leaves the index before its anchor goes, and what comes is written before that', () => {
  const host = new ModelHost();
  host.carryOut(makeBundle(one));
  const kinds = host.carryOut(makeBundle(two)).map(({ kind }) => kind);
  assert.deepEqual(kinds.slice(2, 6), ['write-anchor', 'unindex', 'remove-anchor', 'rebuild-store']);
});

test('what goes leaves the index also where it was in none when it was looked at: somebody may index it meanwhile', () => {
  const host = new ModelHost();
  host.carryOut(makeBundle(one));
  host.derived.clear();
  const kinds = host.carryOut(makeBundle()).map(({ kind }) => kind);
  assert(kinds.indexOf('unindex') > 0 && kinds.indexOf('unindex') < kinds.indexOf('remove-anchor'), kinds.join());
});

test('whatever sets follow each other, a plan that was carried out leaves an empty plan and the process with that set', () => {
  fc.assert(
    fc.property(fc.array(bundles, { minLength: 1, maxLength: 6 }), (sets) => {
      const host = new ModelHost();
      for (const desired of sets) {
        const before = host.restarts;
        host.carryOut(desired);
        host.assertTrusts(desired);
        assert(host.restarts - before <= 1, 'the runtime is disturbed at most once a change');
      }
    }),
  );
});

test('a crash after any step, then another set or the same, ends as if there had been none', () => {
  fc.assert(
    fc.property(bundles, bundles, bundles, fc.nat(12), (first, second, third, stopAfter) => {
      const host = new ModelHost();
      host.carryOut(first);
      for (const step of planTrust(second, host.observe()).slice(0, stopAfter)) host.apply(step);
      host.carryOut(third);
      host.assertTrusts(third);
    }),
  );
});

test('a restart by anybody at any moment never gives a process without the bundle for one that has it', () => {
  fc.assert(
    fc.property(bundles, bundles, fc.nat(12), fc.boolean(), (first, second, restartAfter, crash) => {
      const host = new ModelHost();
      host.carryOut(first);
      const plan = planTrust(second, host.observe());
      for (const step of plan.slice(0, restartAfter)) host.apply(step);
      host.restart();
      if (!crash) for (const step of plan.slice(restartAfter)) host.apply(step);
      host.carryOut(second);
      host.assertTrusts(second);
    }),
  );
});

test('whoever damages, mends and restarts in whatever order, an empty plan never stands for a process without the bundle', () => {
  const event = fc.oneof(
    fc.record({ kind: fc.constantFrom('damage', 'mend', 'restart') }),
    fc.record({
      kind: fc.constant('pass' as const),
      meanwhile: fc.constantFrom('damage', 'restart', 'nothing'),
      after: fc.nat(12),
    }),
  );
  const happen = (host: ModelHost, kind: string): void => {
    if (kind === 'damage') host.damage();
    else if (kind === 'mend') host.rebuildStore();
    else if (kind === 'restart') host.restart();
  };
  fc.assert(
    fc.property(fc.array(event, { maxLength: 8 }), (events) => {
      const host = new ModelHost();
      const desired = makeBundle(one, two);
      host.carryOut(desired);
      for (const happening of events) {
        if ('after' in happening) {
          const plan = planTrust(desired, host.observe());
          for (const step of plan.slice(0, happening.after)) host.apply(step);
          happen(host, happening.meanwhile);
          for (const step of plan.slice(happening.after)) host.apply(step);
        } else happen(host, happening.kind);
        if (planTrust(desired, host.observe()).length === 0) host.assertTrusts(desired);
      }
      host.carryOut(desired);
      host.assertTrusts(desired);
    }),
    { numRuns: 1000 },
  );
});

test('a store that somebody else rebuilds whole costs a note, and a process that started before the note a restart', () => {
  const host = new ModelHost();
  host.carryOut(makeBundle(one));
  host.rebuildStore();
  assert.deepEqual(
    host.carryOut(makeBundle(one)).map(({ kind }) => kind),
    ['note-loaded'],
  );
  host.rebuildStore();
  host.restart();
  assert.equal(host.carryOut(makeBundle(one))[0]?.kind, 'restart-runtime');
  host.assertTrusts(makeBundle(one));
});

test('a runtime that restarts in the middle of the tool, before the bundle is replaced, is stale', () => {
  const host = new ModelHost();
  for (const step of planTrust(makeBundle(one), host.observe())) {
    if (step.kind === 'rebuild-store') host.restart();
    host.apply(step);
    if (step.kind === 'note-after') break;
  }
  assert.equal(planTrust(makeBundle(one), host.observe())[0]?.kind, 'restart-runtime');
});

test('a restart by somebody else after the rebuild saves the agent its own', () => {
  const host = new ModelHost();
  const plan = planTrust(makeBundle(one), host.observe());
  for (const step of plan.slice(
    0,
    plan.findIndex(({ kind }) => kind === 'restart-runtime'),
  ))
    host.apply(step);
  host.restart();
  assert.deepEqual(
    planTrust(makeBundle(one), host.observe()).map(({ kind }) => kind),
    ['await-healthy', 'note-loaded'],
  );
});

test('a set that comes back before the restart costs one, since the process may have loaded the other meanwhile', () => {
  const host = new ModelHost();
  host.carryOut(makeBundle(one));
  const plan = planTrust(makeBundle(one, two), host.observe());
  for (const step of plan.slice(
    0,
    plan.findIndex(({ kind }) => kind === 'restart-runtime'),
  ))
    host.apply(step);
  const before = host.restarts;
  host.carryOut(makeBundle(one));
  host.assertTrusts(makeBundle(one));
  assert.equal(host.restarts, before + 1);
});

test('a store that somebody broke is mended, without a restart where the running process loaded it whole', () => {
  const host = new ModelHost();
  host.carryOut(makeBundle(one, two));
  host.anchors.delete(anchorName(one.fingerprint));
  host.rebuildStore();
  const before = host.restarts;
  host.carryOut(makeBundle(one, two));
  host.assertTrusts(makeBundle(one, two));
  assert.equal(host.restarts, before);
});

test('a runtime that was started while the store was broken is restarted once it is mended', () => {
  const host = new ModelHost();
  host.carryOut(makeBundle(one, two));
  host.anchors.delete(anchorName(one.fingerprint));
  host.rebuildStore();
  host.restart();
  host.carryOut(makeBundle(one, two));
  host.assertTrusts(makeBundle(one, two));
});

test('lost records cost a rebuild and a restart, never a false proof', () => {
  const host = new ModelHost();
  host.carryOut(makeBundle(one));
  host.record = {};
  const kinds = new Set(planTrust(makeBundle(one), host.observe()).map(({ kind }) => kind));
  assert(kinds.has('rebuild-store') && kinds.has('restart-runtime'));
});

test('an anchor that holds something else is written again, and what it was indexed by meanwhile goes afterwards', () => {
  const host = new ModelHost();
  host.carryOut(makeBundle(one));
  const observed = host.observe();
  const spoiled = observed.store.anchors.map(({ name }) => ({ name, certificate: undefined }));
  const plan = planTrust(makeBundle(one), { ...observed, store: { ...observed.store, anchors: spoiled } });
  assert.deepEqual(plan.map(({ kind }) => kind).slice(2, 5), ['write-anchor', 'rebuild-store', 'reindex']);
});

test('a missing index entry alone is mended without a rebuild', () => {
  const host = new ModelHost();
  host.carryOut(makeBundle(one));
  const observed = host.observe();
  const plan = planTrust(makeBundle(one), { ...observed, store: { ...observed.store, indexed: new Set() } });
  assert.deepEqual(plan, [{ kind: 'reindex' }]);
});

for (const kind of ['stopped', 'unknown'] as const) {
  test(`a runtime that is ${kind} is never proof: the plan waits for it`, () => {
    const host = new ModelHost();
    host.carryOut(makeBundle(one));
    const plan = planTrust(makeBundle(one), { ...host.observe(), runtime: { kind, unit, evidence: 'because' } });
    assert.deepEqual(plan, [{ kind: 'await-runtime', unit, evidence: 'because' }]);
  });
}

test('a process that nobody could name around the rebuild makes every later one stale but a noted one', () => {
  const host = new ModelHost();
  host.carryOut(makeBundle(one));
  const { rebuild } = host.record;
  assert(rebuild !== undefined);
  host.record = { rebuild: { ...rebuild, after: 'unknown' } };
  assert.equal(planTrust(makeBundle(one), host.observe())[0]?.kind, 'restart-runtime');
});

test('a process that starts after a runtime that was stopped around the rebuild is fresh', () => {
  const host = new ModelHost();
  host.carryOut(makeBundle(one));
  const { rebuild } = host.record;
  assert(rebuild !== undefined);
  host.record = { rebuild: { ...rebuild, before: 'stopped', after: 'stopped' } };
  assert.deepEqual(
    planTrust(makeBundle(one), host.observe()).map(({ kind }) => kind),
    ['await-healthy', 'note-loaded'],
  );
});

test('a store that was put back from a backup is rebuilt: the records speak of another bundle', () => {
  const host = new ModelHost();
  host.carryOut(makeBundle(one));
  const { anchors, derived, bundle } = host;
  const backup = { anchors: new Map(anchors), derived: new Set(derived), bundle: new Set(bundle) };
  host.carryOut(makeBundle(two));
  host.restart();
  Object.assign(host, backup);
  host.carryOut(makeBundle(one));
  host.assertTrusts(makeBundle(one));
});

test('a process that was seen before the rebuild is stale, whoever was seen after it', () => {
  const host = new ModelHost();
  host.carryOut(makeBundle(one));
  const { rebuild } = host.record;
  assert(rebuild !== undefined);
  host.record = { rebuild: { ...rebuild, before: `process-${host.process}`, after: 'stopped' } };
  assert.equal(planTrust(makeBundle(one), host.observe())[0]?.kind, 'restart-runtime');
});

test('without a runtime the store alone is planned', () => {
  const plan = planTrust(makeBundle(one), { ...new ModelHost().observe(), runtime: { kind: 'none' } });
  assert(plan.every(({ kind }) => kind !== 'restart-runtime' && kind !== 'note-loaded' && kind !== 'await-runtime'));
});
