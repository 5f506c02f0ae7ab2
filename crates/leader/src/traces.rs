//! Traces of submissions, for a collector that speaks OTLP.
//!
//! A submission is one span: from the arrival of the call, over the commit, to its answer. It continues the trace that the
//! caller names in the header `traceparent`.

use std::time::Duration;

use engine::Event;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span, SpanKind, Status as SpanStatus, Tracer, TracerProvider};
use opentelemetry::{KeyValue, Value};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tonic::metadata::{KeyRef, MetadataMap};
use tonic::transport::ClientTlsConfig;
use tonic::{Code, Status};
use tracing::warn;

/// How long the last spans may take to reach the collector at the end.
const LAST_SPANS: Duration = Duration::from_millis(500);

/// Sends traces, or does nothing. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    to: Option<(SdkTracerProvider, SdkTracer)>,
}

impl Traces {
    /// Sends traces to the collector at `endpoint`, in batches and in the background. What it does not take in time is
    /// dropped. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// If `endpoint` is not a URL.
    pub fn to(endpoint: &str) -> anyhow::Result<Self> {
        let builder = SpanExporter::builder().with_tonic().with_endpoint(endpoint);
        let builder = if endpoint.starts_with("https:") {
            builder.with_tls_config(ClientTlsConfig::new().with_native_roots())
        } else {
            builder
        };
        let resource = Resource::builder().with_service_name("calculator-leader");
        let resource = resource.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))).build();
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(builder.build()?).with_resource(resource).build();
        let tracer = provider.tracer("calculator-leader");
        Ok(Self { to: Some((provider, tracer)) })
    }

    /// Begins the span of a submission that came with `headers`; `None` if traces go nowhere.
    pub(crate) fn submission(&self, headers: &MetadataMap) -> Option<Submission> {
        let (_, tracer) = self.to.as_ref()?;
        let caller = TraceContextPropagator::new().extract(&Headers(headers));
        let builder = tracer.span_builder("calculator.v1.CalculatorService/Submit").with_kind(SpanKind::Server);
        let mut span = builder.start_with_context(tracer, &caller);
        span.set_attribute(KeyValue::new("rpc.system", "grpc"));
        span.set_attribute(KeyValue::new("rpc.service", "calculator.v1.CalculatorService"));
        span.set_attribute(KeyValue::new("rpc.method", "Submit"));
        if let Some(Ok(id)) = headers.get("x-request-id").map(|id| id.to_str()) {
            span.set_attribute(KeyValue::new("request.id", id.to_owned()));
        }
        Some(Submission(span))
    }

    /// Sends the last spans, and stops.
    pub(crate) async fn end(self) {
        let Some((provider, _)) = self.to else { return };
        // Blocks its thread.
        let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST_SPANS)).await;
        if let Ok(Err(error)) = ended {
            warn!(%error, "the last traces did not reach the collector");
        }
    }
}

/// The span of a submission.
pub(crate) struct Submission(opentelemetry_sdk::trace::Span);

impl Submission {
    /// The submission is answered.
    pub(crate) fn end(mut self, answer: &Result<Event, Status>) {
        let code = match answer {
            Ok(event) => {
                let index = i64::try_from(event.index.0).unwrap_or(i64::MAX);
                self.0.set_attribute(KeyValue::new("calculator.index", Value::I64(index)));
                Code::Ok
            }
            Err(status) => {
                self.0.set_status(SpanStatus::error(status.message().to_owned()));
                status.code()
            }
        };
        self.0.set_attribute(KeyValue::new("rpc.grpc.status_code", Value::I64(i32::from(code).into())));
        self.0.end();
    }
}

struct Headers<'a>(&'a MetadataMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        let name = |key| match key {
            KeyRef::Ascii(key) => Some(key.as_str()),
            KeyRef::Binary(_) => None,
        };
        self.0.keys().filter_map(name).collect()
    }
}
