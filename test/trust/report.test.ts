import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgentError } from '../../agent/errors.ts';
import { emptyBundle } from '../../agent/trust/bundle.ts';
import { type Decision, decideTrust, keepTrust, type Verdict, withdrawTrust } from '../../agent/trust/desired.ts';
import { type Next, type PassFacts, reportFailure, reportPass } from '../../agent/trust/report.ts';
import { makeBundle, makeCertificate } from '../support/bundles.ts';
import { fixedNow } from '../support/certificates.ts';

const certificate = makeCertificate('Corp Root');
const source = 'secret kube-system/custom-ca-trust-secret';
const unit = 'containerd.service';
const context = {
  source,
  memory: undefined,
  onHost: emptyBundle,
  now: fixedNow,
  graceMs: 0,
  admission: { maxCertificates: 10, nonCa: 'error' },
} as const;
const trusted = { bundle: makeBundle(certificate).digest, certificates: [{ entry: 'corp.pem', certificate }] };
const nothing = { bundle: emptyBundle.digest, certificates: [] };

function decide(entries: Readonly<Record<string, string>>): Decision {
  const bytes = new Map(Object.entries(entries).map(([name, text]) => [name, Buffer.from(text)]));
  return decideTrust({ kind: 'present', entries: bytes, onDelete: 'grace' }, context);
}

const admitted = decide({ 'corp.pem': certificate.pem });

function factsOf(change: Partial<PassFacts> = {}): PassFacts {
  return {
    source,
    decision: admitted,
    carried: { kind: 'done' },
    remaining: [],
    trusted,
    store: 'the store',
    runtime: { kind: 'unit', unit },
    warnings: [],
    ...change,
  };
}

function judge(change: Partial<PassFacts>): readonly unknown[] {
  const { status, next } = reportPass(factsOf(change));
  return [status.state, status.reason, next.kind];
}

function told(change: Partial<PassFacts>): string {
  return reportPass(factsOf(change)).status.message;
}

function verdictOf(verdict: Verdict): Partial<PassFacts> {
  return { decision: { ...admitted, verdict } };
}

test('an empty plan over an admitted source is Synced, and nothing else is', () => {
  assert.deepEqual(judge({}), ['Synced', '', 'resync']);
  assert.deepEqual(judge({ remaining: [{ kind: 'reindex' }] }), ['Failed', 'StoreIncomplete', 'back-off']);
  const awaited = { kind: 'await-runtime', unit, evidence: 'it is on its way' } as const;
  assert.deepEqual(judge({ remaining: [awaited] }), ['Failed', 'RuntimeUnknown', 'back-off']);
});

test('a failure is told with its code and tried again as its class says, or as the peer wishes', () => {
  const transient = new AgentError('ToolTimedOut', { tool: 'openssl', evidence: 'hung' }, { retryAfterMs: 5000 });
  assert.deepEqual(reportPass(factsOf({ carried: { kind: 'failed', error: transient } })).next, {
    kind: 'back-off',
    retryAfterMs: 5000,
  });
  const content = new AgentError('StoreIncomplete', { path: 'the store', evidence: 'it lacks ours' });
  assert.deepEqual(judge({ carried: { kind: 'failed', error: content } }), ['Failed', 'StoreIncomplete', 'resync']);
  const torn = new AgentError('StoreIncomplete', { path: 'the store', evidence: 'torn' }, { retry: 'transient' });
  assert.deepEqual(judge({ carried: { kind: 'failed', error: torn } }), ['Failed', 'StoreIncomplete', 'back-off']);
});

test('a held failure says what it said', () => {
  const held = { world: '', retryMark: '', code: 'RuntimeUnhealthy', message: 'it did not come back' } as const;
  assert.deepEqual(judge({ carried: { kind: 'held', held } }), ['Failed', 'RuntimeUnhealthy', 'resync']);
  assert.equal(told({ carried: { kind: 'held', held } }), held.message);
});

test('what waits names its time, and that is when it is looked at again', () => {
  const until = new Date(fixedNow.getTime() + 60_000);
  const restart = factsOf({ carried: { kind: 'waiting', unit, until } });
  assert.deepEqual(reportPass(restart).next, { kind: 'at', at: until });
  assert.deepEqual(judge(restart), ['Waiting', 'RestartDeferred', 'at']);
  for (const code of ['SourceDeleted', 'SourceEmpty'] as const) {
    const leaving = verdictOf({ kind: 'leaving', code, until });
    assert.deepEqual(judge(leaving), ['Waiting', code, 'at']);
    for (const facts of [restart, leaving]) assert(told(facts).includes(until.toISOString()), told(facts));
  }
});

test("a grace that ends while something else is told has its pass at its end, or at the other's time if that is sooner", () => {
  const graceEnds = new Date(fixedNow.getTime() + 600_000);
  const [sooner, later] = [-1, 1].map((offset) => new Date(graceEnds.getTime() + offset)) as [Date, Date];
  const next = (decision: Decision, carried: PassFacts['carried'] = { kind: 'done' }): Next =>
    reportPass(factsOf({ decision: { ...decision, graceEnds }, carried })).next;
  assert.deepEqual(next(decide({ bad: 'x' })), { kind: 'at', at: graceEnds });
  assert.deepEqual(next(admitted, { kind: 'waiting', unit, until: sooner }), { kind: 'at', at: sooner });
  assert.deepEqual(next(admitted, { kind: 'waiting', unit, until: later }), { kind: 'at', at: graceEnds });
  const silent = decideTrust(
    { kind: 'unavailable', code: 'SourceUnavailable', evidence: '', retryAfterMs: 9 },
    context,
  );
  assert.deepEqual(next(silent), { kind: 'back-off', retryAfterMs: 9, by: graceEnds });
  assert.deepEqual(next(withdrawTrust(source)), { kind: 'end' });
});

test('no news is a failure that says so, with the evidence, and backs off as long as the peer wishes', () => {
  for (const code of ['SourceForbidden', 'SourceUnavailable'] as const) {
    const verdict = { kind: 'unavailable', code, evidence: 'HTTP 429', retryAfterMs: 9000 } as const;
    assert.deepEqual(judge(verdictOf(verdict)), ['Failed', code, 'back-off']);
    assert.deepEqual(reportPass(factsOf(verdictOf(verdict))).next, { kind: 'back-off', retryAfterMs: 9000 });
    assert.match(told(verdictOf(verdict)), /could not be read|may not be read/);
  }
});

test('a source that is gone is Synced with nothing, one that holds nothing is Rejected', () => {
  assert.deepEqual(judge({ ...verdictOf({ kind: 'gone', code: 'SourceDeleted' }), trusted: nothing }), [
    'Synced',
    '',
    'resync',
  ]);
  assert.deepEqual(judge(verdictOf({ kind: 'gone', code: 'SourceEmpty' })), ['Rejected', 'SourceEmpty', 'resync']);
  assert.deepEqual(judge(verdictOf({ kind: 'wrong-type', type: 'kubernetes.io/tls' })), [
    'Rejected',
    'SourceWrongType',
    'resync',
  ]);
});

test('a rejected source is told by its first error, how many more there are, the remedy, and what stays', () => {
  const rejected = decide({ 'a.pem': 'nothing', 'b.pem': 'a\r\n' });
  assert.deepEqual(judge({ decision: rejected }), ['Rejected', 'NoCertificate', 'resync']);
  const message = told({ decision: rejected });
  assert.match(message, /^secret .*, entry "a\.pem": .* \(and 1 more, see details\); put a PEM certificate/);
  assert.match(message, /; 1 certificate trusted before stays$/);
  assert.match(told({ decision: rejected, trusted: nothing }), /; 0 certificates trusted before stay$/);
});

test('a warning is told with a synced state and does not change it', () => {
  const expired = decide({ 'corp.pem': certificate.pem });
  const finding = {
    code: 'Expired',
    severity: 'warning',
    entry: 'corp.pem',
    message: 'it is old',
    remedy: 'Renew it.',
  } as const;
  const facts = factsOf({ decision: { ...expired, findings: [finding] } });
  assert.deepEqual(judge(facts), ['Synced', '', 'resync']);
  assert.match(told(facts), /; warning: entry "corp\.pem": it is old; renew it$/);
});

test('a Node outside of the pool is Disabled when it holds nothing, and says so while it holds something', () => {
  assert.deepEqual(judge({ decision: keepTrust(context), trusted: nothing }), ['Disabled', '', 'resync']);
  const decision = keepTrust({ ...context, onHost: makeBundle(certificate) });
  assert.deepEqual(judge({ decision }), ['Waiting', 'NodeNotEnabled', 'resync']);
  assert.deepEqual(judge({ decision, trusted: nothing })[1], 'NodeNotEnabled', 'not in the bundle, but on the host');
});

test('a withdrawal that is proven ends the work; one that is not does not', () => {
  const decision = withdrawTrust(source);
  assert.deepEqual(judge({ decision, trusted: nothing }), ['Disabled', '', 'end']);
  assert.equal(judge({ decision, remaining: [{ kind: 'reindex' }] })[0], 'Failed');
});

test('a pass that could not even look claims nothing of the host', () => {
  const { status, next } = reportFailure(new AgentError('HostLocked', { evidence: 'PID 7' }));
  assert.deepEqual(
    [status.state, status.reason, status.trusted, status.store],
    ['Failed', 'HostLocked', undefined, undefined],
  );
  assert.equal(next.kind, 'back-off');
  assert.match(status.message, /PID 7; stop the other one/);
});
