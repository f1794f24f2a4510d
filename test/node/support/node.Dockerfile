# A node: Debian with systemd as its first process and containerd of one of Debian's suites, as the packages bring them.
ARG DEBIAN
FROM $DEBIAN
ARG SUITE
ARG SANDBOX_IMAGE
ENV DEBIAN_FRONTEND=noninteractive
# update-ca-certificates and openssl are what the agent works with; the rest is what containers need.
RUN apt-get update \
 && apt-get install -y --no-install-recommends systemd systemd-sysv dbus containerd runc ca-certificates openssl \
      curl iproute2 iptables kmod mount procps util-linux \
 && mkdir /opt/debs && cd /opt/debs && apt-get download ca-certificates \
 && apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' > /tmp/sources
# Newer packages of containerd need nothing newer beside them, so the package alone is taken out of the newer suite.
RUN if [ "$SUITE" != bookworm ]; then \
      echo "deb $(sed -n 's/^bookworm //p' /tmp/sources | head -n 1) $SUITE main" > /etc/apt/sources.list.d/newer.list \
   && apt-get update && cd /tmp && apt-get download "containerd/$SUITE" && dpkg -i containerd_*.deb \
   && rm containerd_*.deb /etc/apt/sources.list.d/newer.list; \
    fi; rm -rf /var/lib/apt/lists/* /tmp/sources
RUN systemctl mask systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket getty.target \
      console-getty.service systemd-timesyncd.service systemd-modules-load.service systemd-networkd.service \
      systemd-resolved.service sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
      dev-hugepages.mount dev-mqueue.mount apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
 && systemctl enable containerd.service && : > /etc/machine-id
RUN mkdir -p /etc/containerd/certs.d && printf '%s\n' 'version = 2' \
      '[plugins."io.containerd.grpc.v1.cri"]' \
      "sandbox_image = \"$SANDBOX_IMAGE\"" \
      'restrict_oom_score_adj = true' \
      '[plugins."io.containerd.grpc.v1.cri".registry]' \
      'config_path = "/etc/containerd/certs.d"' \
      '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]' \
      'runtime_type = "io.containerd.runc.v2"' \
      '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]' \
      'SystemdCgroup = true' > /etc/containerd/config.toml
COPY node-entry /usr/local/sbin/node-entry
# Docker makes a volume of it with this content: containerd's layers cannot lie on an overlay.
VOLUME /var
STOPSIGNAL SIGRTMIN+3
ENV container=docker
ENTRYPOINT ["/usr/local/sbin/node-entry"]
