import time
def test_real(real_domain):
    t=time.time()
    events=[]
    out=real_domain.apply(listener=events.append)
    print(__import__("time").process_time(), out, time.time()-t)
    for e in events:
        if e["event"] in("node_done","node_failed"): print(e["node"], e.get("seconds"), e.get("summary"), e.get("error"))
def test_stand(domain):
    t=time.time()
    events=[]
    out=domain.apply(listener=events.append)
    print(__import__("time").process_time(), out, time.time()-t)
    for e in events:
        if e["event"] in("node_done","node_failed"): print(e["node"], e.get("seconds"), e.get("summary"), e.get("error"))
