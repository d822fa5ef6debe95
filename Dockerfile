# syntax=docker/dockerfile:1

# Two images, from one build:
#   docker build -t imin-customer-worker .
#   docker build -t imin-sandbox --target sandbox .
#
# Neither holds a shell or a package manager. Both run as user 65532 and write nothing outside
# /var/lib/imin-customer-worker, so that the root file system can be read-only.

ARG BUILD_IMAGE=docker.io/library/rust:1.95-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /build
# The dependencies, in a layer that lasts until they change: built for stand-ins of our own sources.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src/bin tests/it deploy/demo benches/bench \
    && touch src/lib.rs \
    && for main in src/main.rs src/bin/imin-sandbox.rs tests/it/main.rs deploy/demo/demo.rs benches/bench/main.rs; do \
           echo 'fn main() {}' >"$main"; \
       done \
    && cargo build --locked --release --bins
# Now ours. Cargo goes by times, and the checked-out files may be older than the stand-ins.
COPY src src
ARG GIT_COMMIT=unknown
RUN find src -type f -exec touch {} + \
    && GIT_COMMIT="$GIT_COMMIT" cargo build --locked --release --bins \
    && install -d -m 0750 /image/state/imin-customer-worker \
    && install -D -t /image/worker target/release/imin-customer-worker \
    && install -D -t /image/sandbox target/release/imin-sandbox

FROM ${RUNTIME_IMAGE} AS sandbox
COPY --from=build /image/sandbox/ /usr/local/bin/
LABEL org.opencontainers.image.title="imin-sandbox" \
      org.opencontainers.image.description="Plays imin's customer accounts API by its documentation, with faults on request." \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
USER 65532:65532
EXPOSE 8081
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/imin-sandbox"]
CMD ["--addr", "0.0.0.0:8081"]

FROM ${RUNTIME_IMAGE} AS worker
COPY --from=build /image/worker/ /usr/local/bin/
COPY --from=build --chown=65532:65532 /image/state/ /var/lib/
ARG GIT_COMMIT=unknown
LABEL org.opencontainers.image.title="imin-customer-worker" \
      org.opencontainers.image.description="Turns create-customer events from RabbitMQ into imin customer accounts." \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.revision="${GIT_COMMIT}"
# Inside a container loopback is nobody else's: the probes and the scraper come from outside.
ENV ADMIN_ADDR=0.0.0.0:8080 \
    LEDGER_URL=sqlite:///var/lib/imin-customer-worker/ledger.db \
    LOG_FORMAT=json
USER 65532:65532
WORKDIR /var/lib/imin-customer-worker
# The default ledger. Without a volume that outlives the container, a new container forgets whom it made.
VOLUME /var/lib/imin-customer-worker
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["/usr/local/bin/imin-customer-worker", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/imin-customer-worker"]
CMD ["run"]
