// `npm run demo`: the agent's main job, played through on this machine in a sandbox, as an ordinary user. Every line that
// claims something checks it first; the first claim that does not hold ends the demo with exit code 1.

import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs, styleText } from 'node:util';
import { connect, type Stage, setStage } from './stage.ts';

const { keep, help } = parseArgs({
  options: { keep: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } },
}).values;
if (help) {
  say('npm run demo [-- --keep]   --keep: leave it running, and tell where to look and what to try');
  process.exit();
}
const startedAt = performance.now();
/** What OpenSSL says of a chain whose root it does not know (x509v3 verify codes 18 to 21). */
const unknownAuthority = new Set([
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
]);

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function chapter(title: string): void {
  say(`\n${styleText('bold', title)}`);
}

function line(mark: string, text: string, elapsedMs = performance.now() - startedAt): void {
  const seconds = (elapsedMs / 1000).toFixed(1).padStart(5);
  say(`${styleText('dim', `${seconds} s`)}  ${mark}  ${text}`);
}

function note(text: string): void {
  line(' ', text);
}

class BrokenClaim extends Error {}

function claim(holds: boolean, text: string, evidence: unknown = ''): void {
  if (!holds) {
    line(styleText('red', '✗'), text);
    throw new BrokenClaim(`this does not hold: ${text} ${String(evidence)}`);
  }
  line(styleText('green', '✓'), text);
}

async function claimPull(stage: Stage, which: 'old' | 'new', expected: 'works' | 'x509'): Promise<void> {
  const registry = stage.registries[which];
  const results = [await connect(registry, await stage.bundle()), await connect(registry, await stage.trustPool())];
  const name = registry.ca.subject;
  const holds = results.every((result) => (expected === 'works' ? result === 'ok' : unknownAuthority.has(result)));
  const shown = [...new Set(results)].join(', ');
  claim(
    holds,
    expected === 'works'
      ? `TLS to the registry of ${name} works, with the node's bundle and with what containerd has loaded`
      : `TLS to the registry of ${name} fails, certificate signed by unknown authority (${shown})`,
    shown,
  );
}

function showSteps(stage: Stage): void {
  for (const { sentence, at } of stage.newSteps()) {
    line(' ', styleText('dim', sentence), at.getTime() - performance.timeOrigin - startedAt);
  }
}

async function claimSynced(stage: Stage, count: number, since: number): Promise<void> {
  const status = await stage.annotated(
    ({ state, certificates }) => state === 'Synced' && certificates === String(count),
  );
  const took = ((performance.now() - since) / 1000).toFixed(1);
  showSteps(stage);
  const says = `the Node says ${styleText('bold', 'Synced')}, certificates ${count}, ${took} s after the change`;
  claim(status['reason'] === '', says, status['reason']);
  note(styleText('dim', status['message'] ?? ''));
}

async function claimRestarts(stage: Stage, before: number, count: number): Promise<void> {
  const restarts = (await stage.restarts()) - before;
  claim(
    restarts === count,
    `containerd was ${count === 0 ? 'not restarted' : `restarted ${count === 1 ? 'once' : `${count} times`}`}`,
    restarts,
  );
}

async function play(stage: Stage): Promise<void> {
  const { old, new: next } = stage.registries;
  const roots = (await stage.bundle()).match(/BEGIN CERTIFICATE/g)?.length ?? 0;
  note(`a node with ${roots} roots of its distribution, a container runtime, the agent, and an API server`);

  chapter('a  Before: the registry has a certificate of the company');
  await claimPull(stage, 'old', 'x509');

  chapter('b  One Secret is applied');
  let restarts = await stage.restarts();
  let since = stage.applySecret({ 'corp.pem': old.ca.pem });
  note('Secret kube-system/custom-ca-trust-secret, entry corp.pem');

  chapter('c  The agent validates, installs, rebuilds, restarts the runtime, annotates the Node');
  await claimSynced(stage, 1, since);
  await claimRestarts(stage, restarts, 1);
  const installed = (await stage.bundle()).match(/BEGIN CERTIFICATE/g)?.length ?? 0;
  claim(installed === roots + 1, `the bundle has one certificate more: ${installed}, and lost none`, installed);

  chapter('d  The same connection, now');
  await claimPull(stage, 'old', 'works');

  chapter('e  The CA is rotated: old and new together, then new alone');
  restarts = await stage.restarts();
  since = stage.applySecret({ 'corp.pem': old.ca.pem, 'corp-2026.pem': next.ca.pem });
  await claimSynced(stage, 2, since);
  await claimPull(stage, 'old', 'works');
  await claimPull(stage, 'new', 'works');
  since = stage.applySecret({ 'corp-2026.pem': next.ca.pem });
  await claimSynced(stage, 1, since);
  await claimPull(stage, 'new', 'works');
  await claimPull(stage, 'old', 'x509');
  await claimRestarts(stage, restarts, 2);

  chapter('f  A mistake: somebody edits the Secret on Windows');
  restarts = await stage.restarts();
  stage.applySecret({ 'corp-2026.pem': next.ca.pem.replaceAll('\n', '\r\n') });
  const rejected = await stage.annotated(({ state }) => state === 'Rejected');
  claim(
    rejected['reason'] === 'CrlfLineEndings',
    `the Node says ${styleText('bold', 'Rejected')}, reason CrlfLineEndings`,
    rejected['reason'],
  );
  claim(/sed -i|dos2unix/.test(rejected['message'] ?? ''), 'the message brings the remedy:', rejected['message']);
  note(styleText('dim', rejected['message'] ?? ''));
  await claimPull(stage, 'new', 'works');
  await claimRestarts(stage, restarts, 0);

  chapter('g  A CA is added, and containerd does not come back from its restart');
  await stage.failNextRestart();
  stage.applySecret({ 'corp-2026.pem': next.ca.pem, 'corp.pem': old.ca.pem });
  const undone = await stage.annotated(({ reason }) => reason === 'RolledBack');
  showSteps(stage);
  claim(
    undone['state'] === 'Failed',
    `the Node says ${styleText('bold', 'Failed')}, reason RolledBack`,
    undone['state'],
  );
  note(styleText('dim', undone['message'] ?? ''));
  await claimPull(stage, 'new', 'works');
  await claimPull(stage, 'old', 'x509');
  await claimRestarts(stage, restarts, 2);
  note('once with the CA that was added, and once more without it');

  chapter('h  Somebody deletes the file of our certificate on the node');
  restarts = await stage.restarts();
  stage.applySecret({ 'corp-2026.pem': next.ca.pem });
  await stage.annotated(({ state }) => state === 'Synced');
  stage.newSteps();
  const repaired = await stage.deleteAnchor();
  showSteps(stage);
  claim(repaired.includes('it was gone'), 'it was noticed, put back, and told as an event of the Node:', repaired);
  note(styleText('dim', repaired));
  await claimPull(stage, 'new', 'works');
  await claimRestarts(stage, restarts, 0);

  chapter('i  The Secret is deleted; the grace is 1 s here');
  since = stage.deleteSecret();
  const waiting = await stage.annotated(({ state }) => state === 'Waiting');
  claim(
    waiting['reason'] === 'SourceDeleted',
    `the Node says ${styleText('bold', 'Waiting')}, reason SourceDeleted`,
    waiting['reason'],
  );
  note(styleText('dim', waiting['message'] ?? ''));
  await claimSynced(stage, 0, since);
  await claimPull(stage, 'new', 'x509');
  await claimRestarts(stage, restarts, 1);
  const left = (await stage.bundle()).match(/BEGIN CERTIFICATE/g)?.length ?? 0;
  claim(left === roots, `the bundle is what it was: ${left} certificates`, left);
}

function explain({ root, kubeconfig, logFile, endpoints, registries }: Stage): void {
  chapter('It goes on until Ctrl-C. Look around:');
  say(`
  the node's root      ${root}
  its bundle           ${root}/etc/ssl/certs/ca-certificates.crt
  the agent's log      tail -f ${logFile}
  its metrics          curl -s ${endpoints}/metrics
  the registries       ${registries.old.url}/v2/ (${registries.old.ca.subject}), ${registries.new.url}/v2/ (${registries.new.ca.subject})
  their CAs            ${root}/old-ca.pem, ${root}/new-ca.pem

  export KUBECONFIG=${kubeconfig}
  ./node-trust secret ${root}/old-ca.pem | kubectl apply --validate=false -f -
  ./node-trust status
  NODE_NAME=demo-node ./node-trust doctor --host-root ${root} ${registries.old.url}
  kubectl get node demo-node -o yaml
  curl --cacert ${root}/etc/ssl/certs/ca-certificates.crt ${registries.old.url}/v2/
  kubectl -n kube-system delete secret custom-ca-trust-secret
`);
}

const ending = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => ending.abort());
const interrupted = new Promise<never>((_, reject) => {
  ending.signal.addEventListener('abort', () => reject(new BrokenClaim('interrupted')), { once: true });
});

try {
  say(
    styleText(
      'bold',
      'node-trust-agent: a private registry, one Secret, one node. Nothing outside of a temporary folder is touched.',
    ),
  );
  await using stage = await setStage();
  await Promise.race([play(stage), interrupted]);
  say(
    styleText(
      'green',
      `\nEvery line with ✓ was checked. It took ${((performance.now() - startedAt) / 1000).toFixed(1)} s.`,
    ),
  );
  if (keep) {
    explain(stage);
    await Promise.race([delay(2 ** 30, undefined, { signal: ending.signal }), interrupted]).catch(() => {});
  }
} catch (error) {
  if (!(error instanceof BrokenClaim)) throw error;
  process.stderr.write(`\n${error.message}\n`);
  process.exitCode = 1;
}
