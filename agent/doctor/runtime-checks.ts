// The runtime's process: whether it has loaded the store as it is (what planTrust says of our own), and whether its environment
// leads it to another store.

import { ownOnHost } from '../trust/observation.ts';
import { planTrust } from '../trust/plan.ts';
import { rootName } from './chain-checks.ts';
import { broken, type Check, pass, skipped } from './check.ts';
import type { HostFacts, UnitFacts } from './facts.ts';
import { judgeEndpoint, type View } from './view.ts';

export function checkRuntime({ host, facts, root, isInStore }: View): Check {
  if (host === undefined) return skipped('runtime', facts.host.kind === 'unknown' ? facts.host.why : '');
  if (host.observed.kind === 'unknown') return skipped('runtime', host.observed.why);
  const observed = host.observed.value;
  const unit = host.unit.kind === 'known' ? host.unit.value : undefined;
  if (observed.runtime.kind === 'none')
    return skipped('runtime', host.runtime.kind === 'none' ? host.runtime.reason : `${host.runtime.unit} does not run`);
  const name = observed.runtime.unit;
  const evidence = describeProcess(host, unit);
  const steps = planTrust(ownOnHost(observed), observed);
  const restart = steps.find(({ kind }) => kind === 'restart-runtime');
  if (restart !== undefined)
    return broken('RuntimeStale', `${name} runs since before the store was as it is`, evidence, { unit: name });
  if (observed.runtime.kind !== 'running')
    return broken('RuntimeUnknown', `${name}: ${observed.runtime.evidence}`, evidence, { unit: name });
  const isRecorded = observed.record.rebuild !== undefined || observed.record.loaded !== undefined;
  if (isRecorded) return pass('runtime', `${name} has loaded the store as it is`, evidence);
  if (unit?.startedAt === undefined || unit.storeWrittenAt === undefined)
    return skipped('runtime', `${name}: no record of ours tells which store it has loaded`);
  const isOlder = unit.startedAt < unit.storeWrittenAt && root !== undefined && isInStore;
  if (isOlder)
    return broken('RuntimeOlderThanStore', `${name} was started before the store was written`, evidence, {
      unit: name,
    });
  return pass('runtime', `${name} was started after the store was written`, evidence);
}

/** Restarted when, and by whom, as far as it is recorded. */
function describeProcess(host: HostFacts, unit: UnitFacts | undefined): readonly string[] {
  if (host.observed.kind === 'unknown') return [];
  const { runtime, record } = host.observed.value;
  const { restarted, rebuild } = record;
  const runs = runtime.kind === 'running' ? runtime.invocationId : undefined;
  const isByUs =
    restarted?.before !== undefined &&
    runs !== undefined &&
    restarted.before !== runs &&
    record.loaded?.invocationId === runs;
  const who =
    restarted === undefined || !isByUs
      ? 'not by an agent, as far as it is recorded'
      : `by the agent, which asked for it ${restarted.at}`;
  return [
    ...(unit?.startedAt === undefined ? [] : [`its process was started ${unit.startedAt.toISOString()}, ${who}`]),
    ...(unit?.startedAt === undefined && isByUs ? [`its process was started ${who}`] : []),
    ...(unit?.storeWrittenAt === undefined ? [] : [`the bundle was written ${unit.storeWrittenAt.toISOString()}`]),
    ...(rebuild === undefined ? [] : [`the agent last rebuilt the store ${rebuild.at}`]),
    ...(runs === undefined
      ? []
      : [`its InvocationID is ${runs}; before the rebuild it was ${rebuild?.before ?? 'not recorded'}`]),
  ];
}

export function checkEnvironment(view: View): Check {
  const { host, facts, root, chain, at } = view;
  if (host === undefined) return skipped('environment', facts.host.kind === 'unknown' ? facts.host.why : '');
  if (host.unit.kind === 'unknown') return skipped('environment', host.unit.why);
  const { unit, variables, ownRoots } = host.unit.value;
  const set = [...variables].filter(([name]) => name === 'SSL_CERT_FILE' || name === 'SSL_CERT_DIR');
  const [first] = set;
  if (first === undefined || ownRoots === undefined)
    return pass('environment', `${unit} sets neither SSL_CERT_FILE nor SSL_CERT_DIR`);
  const evidence = set.map(([name, { value, path }]) => `${path} sets ${name}=${value}`);
  const values = { path: first[1].path, unit };
  const reached = judgeEndpoint(
    facts.endpoint,
    ownRoots.map(({ certificate }) => certificate),
    at,
  );
  const summary = `${unit} reads ${set.map(([, { value }]) => value).join(' and ')} instead of the host's store`;
  const lacks = root !== undefined && chain !== undefined && reached?.root === undefined;
  if (lacks) return broken('OtherStoreLacksRoot', `${summary}, which lacks ${rootName(chain)}`, evidence, values);
  return broken('OtherStore', summary, evidence, values);
}
