import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Report } from '../../agent/doctor/report.ts';
import { createPatient, type Patient, startRegistry } from '../doctor/patient.ts';
import { writeKubeconfig } from '../support/api-fixture.ts';
import { createCertificate, createServerCertificate } from '../support/certificates.ts';
import { type CommandResult, launcher, nodeTrust } from '../support/command-line.ts';

const dayMs = 24 * 60 * 60 * 1000;
/** The command asks the machine's own clock. */
const [notBefore, notAfter] = [new Date(Date.now() - dayMs), new Date(Date.now() + 365 * dayMs)];
const root = createCertificate({ subject: 'Corp Root', notBefore, notAfter });
const leaf = createServerCertificate(root, { notBefore, notAfter });

function run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<CommandResult> {
  return nodeTrust(['doctor', ...args], '', undefined, { NODE_NAME: 'node-1', KUBERNETES_SERVICE_HOST: '', ...env });
}

const flagsOf = ({ sandbox, kubeconfig }: Patient): readonly string[] => [
  '--host-root',
  sandbox.root,
  '--kubeconfig',
  kubeconfig,
];

test('doctor ends with 0 where nothing fails, and says that nothing is broken', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const port = await startRegistry(t, { chain: [leaf], date: new Date() });
  const { code, out, err } = await run([...flagsOf(patient), `127.0.0.1:${port}`]);
  assert.deepEqual([code, err], [0, ''], out);
  assert.match(out, /^host 127\.0\.0\.1:\d+, seen from node node-1\n- dns +/);
  assert.match(out, /^✓ secret +CN=Corp Root is in secret kube-system\/custom-ca-trust-secret$/m);
  assert.match(out, /^Nothing is broken\. /m);
});

test('doctor ends with 1 where something fails, and ends with what to do and what to type', async (t) => {
  const patient = await createPatient(t);
  const port = await startRegistry(t, { chain: [leaf], date: new Date() });
  const { code, out } = await run([...flagsOf(patient), `127.0.0.1:${port}`]);
  assert.equal(code, 1);
  assert.match(out, /^✗ secret +CN=Corp Root is known nowhere here$/m);
  const block = out.slice(out.indexOf('\n\n') + 2);
  assert.match(block, /^Broken: secret, UnknownRoot\n {2}CN=Corp Root is known nowhere here\n/);
  assert.match(block, /\n {2}· secret kube-system\/custom-ca-trust-secret does not exist\n/);
  assert.match(block, /\nDo: {3}Get the root .*\nType: node-trust secret root\.pem \| kubectl apply -f -\n$/);
  assert(!out.includes('\u001b'), 'no colour where nobody sees it');
});

test('doctor --json prints all checks with their status, and the first that is broken', async (t) => {
  const patient = await createPatient(t);
  const port = await startRegistry(t, { chain: [leaf], date: new Date() });
  const { code, out } = await run(['--json', ...flagsOf(patient), `https://127.0.0.1:${port}/v2/`]);
  assert.equal(code, 1);
  const { checks, diagnosis, at, ...report } = JSON.parse(out) as Report;
  const registry = `127.0.0.1:${port}`;
  const target = {
    asked: `https://${registry}/v2/`,
    readAs: 'url',
    registry,
    scheme: 'https',
    host: '127.0.0.1',
    port,
  };
  assert.deepEqual(report, { version: 1, target, node: 'node-1', healthy: false });
  assert.match(at, /^\d{4}-\d\d-\d\dT/);
  assert.deepEqual(Object.keys(diagnosis ?? {}), [
    'check',
    'status',
    'summary',
    'evidence',
    'code',
    'remedy',
    'command',
  ]);
  assert.deepEqual(
    checks.filter(({ status }) => status === 'fail'),
    [diagnosis],
  );
  for (const { status, summary } of checks) {
    assert(['pass', 'warn', 'fail', 'skipped'].includes(status));
    assert.notEqual(summary, '', 'skipped with why, passed with what');
  }
});

test('without credentials for a cluster the checks that need them are skipped, with why', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const port = await startRegistry(t, { chain: [leaf], date: new Date() });
  const args = ['--host-root', patient.sandbox.root, `127.0.0.1:${port}`];
  const { code, out } = await run(args, { KUBECONFIG: writeKubeconfig(t, '{}') });
  assert.equal(code, 0, out);
  assert.match(out, /^- secret +the kubeconfig .* names no API server/m);
  assert.match(out, /\n\nNothing that could be looked at is broken; not known: secret, admitted\n$/);
  const json = await run(['--json', ...args], { KUBECONFIG: writeKubeconfig(t, '{}') });
  const unknown = (JSON.parse(json.out) as Report).checks.filter((check) => check.unknown);
  assert.deepEqual(
    unknown.map(({ check, status }) => [check, status]),
    [
      ['secret', 'skipped'],
      ['admitted', 'skipped'],
    ],
  );
});

test('a kubeconfig that was named and is none is told, and nothing is looked at', async (t) => {
  const { sandbox } = await createPatient(t);
  for (const [path, why] of [
    ['/nonexist', /^node-trust doctor: the kubeconfig \/nonexist cannot be read: ENOENT/],
    [writeKubeconfig(t, '{}'), /^node-trust doctor: the kubeconfig .* names no API server/],
  ] as const) {
    const { code, out, err } = await run(['--host-root', sandbox.root, '--kubeconfig', path, 'localhost:5000']);
    assert.deepEqual([code, out], [3, '']);
    assert.match(err, why);
  }
});

test('a target that is none, and none at all, are usage errors; a host root that is not there cannot be looked at', async () => {
  assert.deepEqual((await run([])).code, 2);
  const { code, err } = await run(['not a target']);
  assert.equal(code, 2);
  assert.match(err, /TARGET: expected an image, HOST:PORT or a URL, got "not a target"/);
  const nowhere = await run(['--host-root', '/nowhere', 'localhost:5000']);
  assert.deepEqual([nowhere.code, nowhere.out], [3, '']);
  assert.match(nowhere.err, /there is no folder \/nowhere/);
});

test("doctor --node runs in the agent's pod of that node, and tells what it says there", async (t) => {
  const patient = await createPatient(t);
  const port = await startRegistry(t, { chain: [leaf], date: new Date() });
  const cluster = await fakeKubectl(patient, { phase: 'Running' });
  const args = ['--node', 'node-1', '--secret', 'other/cas', `127.0.0.1:${port}`];
  const { code, out, err } = await run(args, cluster);
  assert.deepEqual([code, err], [1, ''], out);
  assert.match(out, /^host .*, seen from node node-1\n/);
  assert.match(out, /^ {2}· secret other\/cas does not exist$/m);
  const calls = (await patient.sandbox.read('/tmp/calls')).trimEnd().split('\n');
  assert.match(calls[0] ?? '', /^-n kube-system get pods -l \S+ --field-selector spec\.nodeName=node-1 -o json$/);
  assert.match(calls[1] ?? '', /^-n kube-system exec agent-pod -c agent -- node .*node-trust\.mjs doctor --json /);
  // Arguments are seen by whoever lists processes, and the API server logs them.
  await run(['--node', 'node-1', `https://bob:hunter2@127.0.0.1:${port}/v2/`], cluster);
  const all = await patient.sandbox.read('/tmp/calls');
  assert.match(all, new RegExp(` https://127\\.0\\.0\\.1:${port}/v2/$`, 'm'));
  assert.doesNotMatch(all, /bob|hunter2/);
});

test('doctor --node says what to do where no agent runs, kubectl fails or is not there, or no report comes', async (t) => {
  const patient = await createPatient(t);
  const ask = (env: Readonly<Record<string, string>>) => run(['--node', 'node-1', 'registry.test/app'], env);
  const none = await ask(await fakeKubectl(patient, { phase: 'Pending' }));
  assert.equal(none.code, 3);
  assert.match(
    none.err,
    /no agent's pod runs on node node-1\. .*kubectl label node node-1 node-trust-agent\/enabled=true/,
  );
  const labelled = await ask(
    await fakeKubectl(patient, { phase: 'Pending', labels: { 'node-trust-agent/enabled': 'true' } }),
  );
  assert.equal(labelled.code, 3);
  assert.match(
    labelled.err,
    /it has the label; see why no pod is there: kubectl -n kube-system describe daemonset node-trust-agent\n/,
  );
  assert.doesNotMatch(labelled.err, /label node/);
  const undeployed = await ask(await fakeKubectl(patient, { phase: 'Pending', daemonSets: [] }));
  assert.equal(undeployed.code, 3);
  assert.match(
    undeployed.err,
    /on node node-1: kube-system has no DaemonSet of the agent; deploy manifests\/ first,\nor/,
  );
  assert.doesNotMatch(undeployed.err, /label node/);
  const nosuch = await ask(await fakeKubectl(patient, { phase: 'Pending', labels: undefined }));
  assert.deepEqual([nosuch.code, nosuch.err], [3, 'node-trust doctor: there is no Node node-1; kubectl get nodes\n']);
  const forbidden = await ask(
    await fakeKubectl(patient, { get: 'echo "Error from server (Forbidden): no" >&2; exit 1' }),
  );
  assert.deepEqual(
    [forbidden.code, forbidden.err.includes('could not list pods: Error from server (Forbidden): no')],
    [3, true],
  );
  const old = await ask(
    await fakeKubectl(patient, { exec: `echo 'node-trust: unknown command "doctor"' >&2; exit 2` }),
  );
  assert.equal(old.code, 3);
  assert.match(old.err, /gave no report: .*its image is older than this doctor/);
  for (const tool of ['dirname', 'readlink', 'uname'])
    await patient.sandbox.link(`/tmp/launcher/${tool}`, `/usr/bin/${tool}`);
  const missing = await ask({ PATH: patient.sandbox.at('/tmp/launcher') });
  assert.equal(missing.code, 3);
  assert.match(missing.err, /kubectl could not be started: ENOENT/);
});

interface FakeKubectl {
  readonly phase?: string;
  /** Of the Node; undefined where there is none. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly daemonSets?: readonly unknown[];
  readonly get?: string;
  readonly exec?: string;
}

/** A kubectl that knows one pod, in which it runs the command line of this checkout. */
async function fakeKubectl({ sandbox, kubeconfig }: Patient, { phase = 'Running', ...does }: FakeKubectl) {
  const isNode = !('labels' in does) || does.labels !== undefined;
  const node = JSON.stringify({ metadata: { labels: does.labels ?? {} } });
  const notFound = `echo 'Error from server (NotFound): nodes "node-1" not found' >&2; exit 1`;
  const nodes = isNode ? `echo '${node}'` : notFound;
  const pods = JSON.stringify({ items: [{ metadata: { name: 'agent-pod' }, status: { phase } }] });
  const { daemonSets = [{}] } = does;
  const sets = `echo '${JSON.stringify({ items: daemonSets })}'`;
  const { get = `echo '${pods}'`, exec = defaultExec(sandbox.root, kubeconfig) } = does;
  const script = `#!/bin/sh\necho "$*" >> '${sandbox.at('/tmp/calls')}'\ncase $3$4 in getnode) ${nodes} ;; getdaemonsets) ${sets} ;; getpods) ${get} ;; exec*) ${exec} ;; esac\n`;
  await sandbox.write('/tmp/calls', '');
  await sandbox.write('/tmp/bin/kubectl', script, 0o755);
  return { PATH: `${sandbox.at('/tmp/bin')}:/usr/local/bin:/usr/bin:/bin` };
}

/** The pod's own paths and credentials in the place of the image's program. */
function defaultExec(root: string, kubeconfig: string): string {
  const own = `'${launcher}' doctor --host-root '${root}' --kubeconfig '${kubeconfig}'`;
  return `while [ "$1" != doctor ]; do shift; done; shift; ${own} "$@"`;
}
