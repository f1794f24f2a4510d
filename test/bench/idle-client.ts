// What client-node weighs that the agent imports: for the bench, which bundles it and lets it do nothing.

import { HttpMethod, IsomorphicFetchHttpLibrary, KubeConfig, loadYaml, RequestContext } from '@kubernetes/client-node';

const used = [HttpMethod, IsomorphicFetchHttpLibrary, KubeConfig, loadYaml, RequestContext];
setInterval(() => used, 2 ** 30);
