# One image for every process: docker build -t rollcall .
FROM debian:bookworm-slim AS build
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      build-essential cmake ninja-build pkg-config \
      librdkafka-dev libavro-dev libjansson-dev librocksdb-dev libhiredis-dev libcurl4-openssl-dev libmicrohttpd-dev \
      libxxhash-dev libcmocka-dev zlib1g-dev liblz4-dev libsnappy-dev libzstd-dev liblzma-dev libbz2-dev libssl-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cmake --preset release && cmake --build --preset release --target rollcall \
 && install -D -m 755 -s build/rollcall /out/usr/local/bin/rollcall \
 && mkdir -p /out/usr/local/share/rollcall && cp -r schemas examples LICENSE /out/usr/local/share/rollcall/

FROM debian:bookworm-slim
# The libraries that the program is linked with; tzdata for calendar windows, curl for the health check.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      librdkafka1 libavro23 libjansson4 librocksdb7.8 libhiredis0.14 libcurl4 libmicrohttpd12 libxxhash0 \
      zlib1g ca-certificates tzdata curl \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /var/lib/rollcall --create-home --shell /usr/sbin/nologin rollcall
COPY --from=build /out/ /
# A library that is missing shows now, and not at the first start.
RUN rollcall version
USER rollcall
ENV ROLLCALL_STATE_DIR=/var/lib/rollcall ROLLCALL_HTTP_LISTEN=0.0.0.0:9464
VOLUME /var/lib/rollcall
EXPOSE 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=6 CMD ["curl", "-fsS", "-o", "/dev/null", "http://127.0.0.1:9464/readyz"]
ENTRYPOINT ["rollcall"]
CMD ["run"]
