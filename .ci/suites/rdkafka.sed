# Here and there rdkafka's tests take for granted that the broker is number 0, at port 9092 of localhost.
s/\.set("bootstrap\.servers", "localhost")/.set("bootstrap.servers", get_bootstrap_server())/
s/Variable(&\[&\[0\], &\[0\], &\[0\]\])/Variable(\&[\&[1], \&[1], \&[1]])/
s/Broker(0)/Broker(1)/
s/orig_broker_id != 0/orig_broker_id != 1/
s/broker_metadata\[0\]\.id(), 0/broker_metadata[0].id(), 1/
s/broker_metadata\[0\]\.port(), 9092/format!("127.0.0.1:{}", broker_metadata[0].port()), get_bootstrap_server()/
s/leader(), 0/leader(), 1/
s/\.replicas(), &\[0\]/.replicas(), \&[1]/
s/\.isr(), &\[0\]/.isr(), \&[1]/
# Assigning a partition puts a mark into its queue, on another thread: sometimes only after the test counts what comes into it.
/async fn test_produce_consume_message_queue_nonempty_callback/,/^}/s/consumer\.assign(&tpl)\.unwrap();/& thread::sleep(Duration::from_millis(300));/
