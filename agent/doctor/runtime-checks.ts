// The runtime's process: whether it has loaded the store as it is (what planTrust says of our own), and whether its environment
// leads it to another store.

import { type Observation, ownOnHost } from '../trust/observation.ts';
import { planTrust, type Step } from '../trust/plan.ts';
import { rootName } from './chain-checks.ts';
import { broken, type Check, notKnown, pass, skipped } from './check.ts';
import type { HostFacts } from './facts.ts';
import { whyNoHost } from './trust-checks.ts';
import { judgeEndpoint, type View } from './view.ts';

export function checkRuntime(view: View): Check {
  const { host, facts } = view;
  if (host === undefined) return notKnown('runtime', whyNoHost(facts));
  if (host.observed.kind === 'unknown' || host.observed.value.runtime.kind === 'none') return judgeByTimes(view, host);
  const { record, runtime, store } = host.observed.value;
  const { unit } = runtime;
  const sound = withoutStrays(host.observed.value);
  const steps = planTrust(ownOnHost(sound), sound);
  const isPlanned = (kind: Step['kind']): boolean => steps.some((step) => step.kind === kind);
  // Where the root is in it all the same, no earlier link says so, and what the process has loaded is not known.
  if (isPlanned('stage-store'))
    return (view.isInStore ? notKnown : skipped)('runtime', 'the store itself is not in order yet');
  const evidence = describeProcess(host);
  if (runtime.kind !== 'running') return broken('RuntimeUnknown', `${unit}: ${runtime.evidence}`, evidence, { unit });
  // Without a record that ends, a rebuild is planned as well, and what is known is no more than times.
  if (isPlanned('rebuild-store') || record.rebuild === undefined) return judgeByTimes(view, host);
  if (isPlanned('restart-runtime'))
    return broken('RuntimeStale', `${unit} was started before the store was what it is now`, evidence, { unit });
  // Records are about what is ours: whether a root of somebody else's was loaded, none of them tells.
  const isOurs =
    view.root === undefined || store.anchors.some(({ certificate }) => certificate?.fingerprint === view.root);
  if (!isOurs && view.isInStore) return judgeByTimes(view, host);
  return pass('runtime', `${unit} has loaded the store that is there`, evidence);
}

/** A file under a name of ours that is no anchor brings nothing into the store: what was loaded does not depend on it. */
function withoutStrays(observed: Observation): Observation {
  const { anchors, derived } = observed.store;
  const strays = new Set(anchors.filter(({ certificate }) => certificate === undefined).map(({ name }) => name));
  const store = {
    ...observed.store,
    anchors: anchors.filter(({ name }) => !strays.has(name)),
    derived: derived.filter((name) => !strays.has(name)),
  };
  return { ...observed, store };
}

/** By when the unit was started and the store was written: enough for a warning, no more. */
function judgeByTimes({ root, isInStore }: View, host: HostFacts): Check {
  if (host.unit.kind === 'unknown') return notKnown('runtime', host.unit.why);
  const { unit, startedAt, storeWrittenAt } = host.unit.value;
  if (startedAt === undefined || storeWrittenAt === undefined) {
    const why = host.runtime.kind === 'none' ? host.runtime.reason : 'the start of the unit is not known';
    return notKnown('runtime', `no record of an agent tells what ${unit} has loaded; ${why}`);
  }
  const evidence = describeProcess(host);
  if (startedAt.getTime() + clockErrorMs >= storeWrittenAt.getTime())
    return pass('runtime', `${unit} was started after the store was written`, evidence);
  if (root === undefined || !isInStore)
    return skipped('runtime', `${unit} was started before the store was written last`);
  return broken('RuntimeOlderThanStore', `${unit} was started before the store was written last`, evidence, { unit });
}

/** Between the time since boot, which tells of a start, and the clock, which tells of a file. */
const clockErrorMs = 1_000;

/** Restarted when, and by whom, as far as it is recorded. */
function describeProcess(host: HostFacts): readonly string[] {
  const unit = host.unit.kind === 'known' ? host.unit.value : undefined;
  const observed = host.observed.kind === 'known' ? host.observed.value : undefined;
  const { restarted, rebuild, loaded } = observed?.record ?? {};
  const runs = observed?.runtime.kind === 'running' ? observed.runtime.invocationId : undefined;
  const isByAgent = restarted !== undefined && loaded?.invocationId === runs && restarted.before !== runs;
  const who = isByAgent
    ? `by the agent, which asked for it ${restarted.at}`
    : 'and no agent has recorded it as its own restart';
  return [
    ...(unit?.startedAt === undefined ? [] : [`it was started ${unit.startedAt.toISOString()}, ${who}`]),
    ...(unit?.storeWrittenAt === undefined ? [] : [`the bundle was written ${unit.storeWrittenAt.toISOString()}`]),
    ...(rebuild === undefined ? [] : [`the agent last rebuilt the store ${rebuild.at}, when ${rebuild.before} ran`]),
    ...(runs === undefined ? [] : [`now ${runs} runs (InvocationID)`]),
  ];
}

export function checkEnvironment(view: View): Check {
  const { host, facts, root, chain, at, isInFolder } = view;
  if (host === undefined) return notKnown('environment', whyNoHost(facts));
  if (host.unit.kind === 'unknown') return notKnown('environment', host.unit.why);
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
  // containerd adds the CAs of its folder for the registry to whatever store it reads.
  const lacks = root !== undefined && !isInFolder && reached?.root === undefined;
  if (lacks && chain !== undefined)
    return broken('OtherStoreLacksRoot', `${summary}, which lacks ${rootName(chain)}`, evidence, values);
  return broken('OtherStore', summary, evidence, values);
}
