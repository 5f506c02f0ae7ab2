//! Traces of submissions, as a collector receives them.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{PATIENCE, TestLeader, config};
use engine::{Operation, Submission};
use leader::config::{Config, Generator};
use leader::traces::Traces;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};
use wire::pb;

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(collector.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (collector, url)
    }

    /// All spans so far, each with the name of the service that sent it.
    fn spans(&self) -> Vec<(String, Span)> {
        let mut spans = Vec::new();
        for sent in self.0.lock().unwrap().iter().flat_map(|request| request.resource_spans.clone()) {
            let attributes = sent.resource.unwrap().attributes;
            let service = attributes.into_iter().find(|one| one.key == "service.name").unwrap().value.unwrap();
            let Some(Value::StringValue(service)) = service.value else { panic!("a service without a name") };
            spans
                .extend(sent.scope_spans.into_iter().flat_map(|scope| scope.spans).map(|span| (service.clone(), span)));
        }
        spans
    }
}

fn attribute(span: &Span, key: &str) -> Option<Value> {
    span.attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submission_is_a_span_in_the_callers_trace() {
    let (collector, url) = Collector::start().await;
    let leader = TestLeader::start(Config { traces: Traces::to(&url).unwrap(), ..config(Generator::Off) }).await;
    let mut client = leader.calls_client().await;
    let submit = |operand: i64, traceparent: Option<&str>| {
        let mut request = Request::new(pb::SubmitRequest::from(Submission::from(Operation::Add(operand))));
        if let Some(traceparent) = traceparent {
            request.metadata_mut().insert("traceparent", MetadataValue::try_from(traceparent).unwrap());
        }
        request.metadata_mut().insert("x-request-id", MetadataValue::from_static("my-request"));
        request
    };
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    client.submit(submit(i64::MAX, Some(traceparent))).await.unwrap();
    client.submit(submit(1, None)).await.unwrap_err();
    // The end sends what waits.
    leader.stop().await;

    let spans = collector.spans();
    assert_eq!(spans.len(), 2, "{spans:?}");
    let (service, span) = &spans[0];
    assert_eq!((service.as_str(), span.name.as_str()), ("calculator-leader", "calculator.v1.CalculatorService/Submit"));
    assert_eq!(span.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
    assert_eq!(span.parent_span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    assert!(span.end_time_unix_nano > span.start_time_unix_nano);
    assert_eq!(attribute(span, "calculator.index"), Some(Value::IntValue(1)));
    assert_eq!(attribute(span, "rpc.grpc.status_code"), Some(Value::IntValue(0)));
    assert_eq!(attribute(span, "request.id"), Some(Value::StringValue("my-request".to_owned())));

    let (_, refused) = &spans[1];
    assert!(refused.parent_span_id.is_empty() && refused.trace_id != span.trace_id);
    assert_eq!(attribute(refused, "rpc.grpc.status_code"), Some(Value::IntValue(11)));
    assert!(refused.status.as_ref().unwrap().message.contains("overflow"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_does_not_sample_is_not_traced() {
    let (collector, url) = Collector::start().await;
    let leader = TestLeader::start(Config { traces: Traces::to(&url).unwrap(), ..config(Generator::Off) }).await;
    let mut request = Request::new(pb::SubmitRequest::from(Submission::from(Operation::Add(1))));
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    request.metadata_mut().insert("traceparent", MetadataValue::from_static(traceparent));
    leader.calls_client().await.submit(request).await.unwrap();
    leader.stop().await;
    assert_eq!(collector.spans(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_delays_neither_answers_nor_the_end() {
    // Nobody accepts its connections.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let leader = TestLeader::start(Config { traces: Traces::to(&url).unwrap(), ..config(Generator::Off) }).await;
    let calls = leader.calls();
    let start = Instant::now();
    // More than the exporter's queue holds.
    for _ in 0..3_000 {
        calls.submit(Operation::Add(1)).await.unwrap();
    }
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    assert!(leader.stop().await < Duration::from_secs(3));
}

#[tokio::test]
async fn an_endpoint_that_is_no_url_is_refused() {
    assert!(Traces::to("not a url").is_err());
}
