# Builds the agent's image for linux/amd64 and linux/arm64. The compiler runs on the build machine's architecture and
# crosses over. `make image` packs the same files with no container engine.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG TARGETOS=linux
ARG TARGETARCH
ARG VERSION=
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY probes/ probes/
COPY config/ config/
COPY controllers/ controllers/
COPY cmd/ cmd/
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o /out/ ./cmd/mountwarden ./cmd/mountwarden-probe ./cmd/mountwarden-backend

FROM scratch
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="Mountwarden" \
      org.opencontainers.image.description="Finds broken mounts under running pods and has the pods replaced" \
      org.opencontainers.image.source="https://github.com/mountwarden/mountwarden" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION
COPY --from=build /out/mountwarden /out/mountwarden-probe /out/mountwarden-backend /
# So that `kubectl exec POD -- mountwarden status` finds it.
ENV PATH=/
USER 0:0
ENTRYPOINT ["/mountwarden"]
CMD ["agent"]
