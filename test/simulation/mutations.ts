// Defects to be planted, each a change of one or two places of the agent's text. A simulation that does not find them proves
// nothing by being green. What each should break is the promise that holds it.

export interface Change {
  /** Below agent/. */
  readonly file: string;
  /** Found exactly once, or the defect is not planted and the run fails. */
  readonly snippet: string;
  readonly replacement: string;
}

export interface Mutation {
  readonly name: string;
  readonly changes: readonly Change[];
}

const mutate = (name: string, file: string, snippet: string, replacement: string): Mutation => ({
  name,
  changes: [{ file, snippet, replacement }],
});

export const mutations: readonly Mutation[] = [
  mutate(
    'the second record of who runs is not made',
    'host/host.ts',
    "'note-after': async (_, signal) => noteRebuild({ after: await runtime.mark(signal) }),",
    "'note-after': async () => noteRebuild({ after: (await facts.read()).runtime.rebuild?.before ?? '' }),",
  ),
  mutate(
    'what the runtime has loaded is not noted',
    'host/host.ts',
    '...(isKnown && { rebuild, loaded: { invocationId, bundle, version: found, besides } }),',
    '',
  ),
  mutate('a file is not synced', 'host/root.ts', 'await file.sync();', ''),
  mutate('a folder is not synced', 'host/root.ts', 'await handle.sync();', ''),
  mutate(
    'any failure of the API counts as not found',
    'kube/secret-source.ts',
    "if (kind === 'not-found') return",
    "if (kind === 'not-found' || kind === 'server-error') return",
  ),
  mutate(
    'a deletion is not confirmed by a second read',
    'kube/secret-source.ts',
    "if (first.kind !== 'absent') return first;",
    'if (first.kind !== undefined) return first;',
  ),
  mutate(
    'the deletion grace is left out',
    'trust/desired.ts',
    "if (onDelete === 'remove' || until <= now)",
    'if (until >= since)',
  ),
  mutate(
    'links are left behind',
    'host/host.ts',
    'unindex: ({ names }, signal) => store.unindex(names, signal),',
    'unindex: async () => {},',
  ),
  mutate(
    'the anchor goes before the index',
    'trust/plan.ts',
    `    ...unindex,
    ...surplus.map((name): Step => ({ kind: 'remove-anchor', name })),`,
    `    ...surplus.map((name): Step => ({ kind: 'remove-anchor', name })),
    ...unindex,`,
  ),
  mutate(
    'a link is moved by removing it first',
    'host/debian-index.ts',
    `    if (target !== undefined) await root.writeLink(to, target);
    await root.remove(from);`,
    `    await root.remove(from);
    if (target !== undefined) await root.writeLink(to, target);`,
  ),
  mutate(
    'a set that is gone is remembered as the last good one',
    'trust/desired.ts',
    "memory: { ...present(memory), certificates: [], observed: '', onDelete } }",
    'memory: { ...present(memory), onDelete } }',
  ),
  mutate(
    'any later process is taken for one with the bundle',
    'trust/plan.ts',
    "return isLater && isSame ? 'follows' : 'stale';",
    "return isLater ? 'follows' : 'stale';",
  ),
  mutate(
    'a process from within the rebuild counts as later',
    'trust/plan.ts',
    'const seen = new Set([rebuild.before, rebuild.after]);',
    'const seen = new Set([rebuild.before]);',
  ),
  mutate(
    'a torn bundle counts as whole',
    'host/debian-store.ts',
    'return readings.some(',
    'return false && readings.some(',
  ),
  mutate(
    'a process is noted whatever the store is now',
    'host/host.ts',
    'const isUntouched = found === (version ?? known.rebuild?.version);',
    'const isUntouched = true;',
  ),
  mutate(
    'a living owner of the lock is not seen',
    'host/lock.ts',
    'owner !== undefined && (await isAlive(owner, own))',
    'owner === undefined',
  ),
  mutate(
    'a held failure is tried at every pass',
    'carry-out.ts',
    'if (isSame && !plan.every(isHarmless))',
    'if (isSame && plan.length === 0)',
  ),
  mutate('a Node leaves its pool on one read', 'pool.ts', 'hasLeft = !has(second);', 'hasLeft = true;'),
  mutate(
    'a Node leaves its pool without having been seen in it',
    'pool.ts',
    "if (first.kind === 'absent' || first.uid !== seenOn) return 'outside';",
    "if (first.kind === 'absent') return 'outside';\n      seenOn = first.uid;",
  ),
  mutate(
    'a rejected set is installed',
    'trust/desired.ts',
    'if (!accepted) {',
    'if (!accepted && certificates.length === 0) {',
  ),
  mutate(
    'Synced is said with work left to do',
    'trust/report.ts',
    'if (step === undefined) return undefined;',
    'if (step?.kind !== undefined || step === undefined) return undefined;',
  ),
  mutate(
    'outside of the pool the source is followed',
    'node-pass.ts',
    "return leaving === true ? 'withdraw' : 'keep';",
    "return leaving === true ? 'withdraw' : 'follow';",
  ),
  mutate(
    'what was taken away is not remembered',
    'trust/provenance.ts',
    'return names.length === 0 ? undefined : names.slice(-maxWithdrawn);',
    'return undefined;',
  ),
  mutate(
    'the runtime is restarted after every rebuild',
    'trust/plan.ts',
    "case 'noted':\n      return [];",
    "case 'noted':\n      return rebuilds ? [{ kind: 'restart-runtime', unit, bundle: desired.digest, stale: undefined }, ...load] : [];",
  ),
  mutate(
    'what is recorded of the runtime lives in memory only',
    'host/host.ts',
    'await facts.update({ runtime: Object.fromEntries(known) as RuntimeRecord });',
    'if (change.rebuild !== undefined) await facts.update({ runtime: Object.fromEntries(known) as RuntimeRecord });',
  ),
  mutate(
    'a restart does not wait for its interval',
    'restart-time.ts',
    'after(rebuild, restartDelayMs), after(restarted, restartIntervalMs)',
    'after(rebuild, restartDelayMs), after(restarted, 0)',
  ),
  mutate(
    'leaving the pool forgets when the last restart was',
    'restart-time.ts',
    'return goesOn ? { restarted: timeOf(restarted) } : {}',
    'return goesOn ? {} : {}',
  ),
  mutate(
    'a rebuild to another bundle forgets when the last restart was',
    'host/host.ts',
    'restarted && { restarted: timeOf(restarted) }',
    'restarted && { restarted: undefined }',
  ),
  mutate(
    'a clock that was set back puts a restart off',
    'restart-time.ts',
    'isAhead ? { ...noted, countsFrom: now.toISOString() } : noted',
    'noted',
  ),
  mutate(
    'a clock that was set back puts a restart off again and again',
    'restart-time.ts',
    'await host.facts.update({ runtime: { ...runtime, ...(rebuild && { rebuild }), ...(restarted && { restarted }) } });',
    '',
  ),
  mutate(
    'a clock that was set back ends the interval between restarts',
    'restart-time.ts',
    '{ ...noted, countsFrom: now.toISOString() }',
    '{ ...noted, countsFrom: new Date(0).toISOString() }',
  ),
  mutate('a path is repaired however often', 'trust/drift.ts', 'const maxRepairs = 5;', 'const maxRepairs = 500;'),
  mutate('a path is left alone for too long', 'trust/drift.ts', 'windowMs = 10 * 60_000', 'windowMs = 20 * 60_000'),
  mutate('a repair is not told', 'node-pass.ts', 'await tellRepairs(outcome.repaired, signal);', ''),
  mutate(
    'a repair that failed counts',
    'carry-out.ts',
    'if (undone === undefined || isStoreDone) {',
    "if (undone?.error.code !== 'DiskFull') {",
  ),
  mutate('what is being taken away is told as drift', 'trust/drift.ts', ' && !anchors.has(name)', ''),
  mutate(
    'the runtime is not asked whether it serves',
    'host/health.ts',
    'return isThere ?',
    'return isThere && socket === "" ?',
  ),
  mutate(
    'another process than the one that serves is noted',
    'host/host.ts',
    "if (invocationId !== served && invocationId !== known.loaded?.invocationId) return 'outdated';",
    '',
  ),
  mutate(
    'an addition stays with which the runtime does not serve',
    'roll-back.ts',
    "'RuntimeUnknown',",
    "'RuntimeUnknown',\n  'RuntimeUnhealthy',",
  ),
  mutate(
    'what the boot has installed is not taken over',
    'host/boot.ts',
    'if (boot === undefined || boot.store !== inSeconds(version)) return record;',
    'if (boot === undefined || boot.store !== version) return record;',
  ),
  mutate(
    "the boot's record counts whatever the store is now",
    'host/boot.ts',
    'if (boot === undefined || boot.store !== inSeconds(version)) return record;',
    'if (boot === undefined) return record;',
  ),
  mutate(
    'what is left alone is taken out of the bundle for nothing',
    'trust/drift.ts',
    'changes ? plan : plan.filter(isHarmless)',
    'changes ? plan : plan.slice()',
  ),
  mutate(
    'a rebuild counts that took up an anchor which the boot installed meanwhile',
    'host/host.ts',
    "if (isOutdated) return 'outdated';",
    '',
  ),
];
