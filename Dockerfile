# The agent as an image: a Node.js binary, one bundle, and nsenter from the base. Nothing is written outside /host.
#
#   docker build -t node-trust-agent .
#   docker run --rm -i node-trust-agent validate - < cas.pem
#
# BUILD_BASE brings npm and libatomic; RUNTIME_BASE glibc, libstdc++ and nsenter (util-linux).
ARG BUILD_BASE=node:26-bookworm-slim
ARG RUNTIME_BASE=debian:bookworm-slim

FROM ${BUILD_BASE} AS build
WORKDIR /build
COPY package.json package-lock.json .npmrc with-node ./
# The Node.js that the tests run with is the one of the image: it comes out of package-lock.json, for this architecture.
# It needs libatomic, which Debian's slim images lack.
RUN npm ci --ignore-scripts \
 && mkdir -p /image/usr/local/bin /image/usr/lib \
 && ./with-node sh -c 'cp "$(command -v node)" /image/usr/local/bin/ && cp "$(ldd "$(command -v node)" | sed -n "s/.*libatomic.* => \(\/[^ ]*\).*/\1/p")" /image/usr/lib/'
COPY tsconfig.json ./
COPY image image
COPY agent agent
RUN npm run bundle

FROM ${RUNTIME_BASE}
COPY --from=build /image /
COPY LICENSE /usr/share/doc/node-trust-agent/
COPY --from=build /build/dist/node-trust.mjs /usr/local/lib/
COPY --from=build /build/dist/node-trust.mjs.LEGAL.txt /usr/share/doc/node-trust-agent/
# A base that lacks something fails here and not on a node.
RUN node /usr/local/lib/node-trust.mjs --version && nsenter --version

ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=
LABEL org.opencontainers.image.title="node-trust-agent" \
      org.opencontainers.image.description="Makes Kubernetes nodes trust private certificate authorities: validated, in place, with proof" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# The root file system may be read-only. One arena of malloc for all threads keeps some megabytes from lying about.
ENV NODE_DISABLE_COMPILE_CACHE=1 MALLOC_ARENA_MAX=1
# The flags trade some speed that nobody waits for against a quarter of the memory; and without a compiler no page of this
# privileged process is both writable and executable.
ENTRYPOINT ["node", "--jitless", "--optimize-for-size", "--max-semi-space-size=1", "/usr/local/lib/node-trust.mjs"]
