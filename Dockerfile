# The README's two commands on a machine where nothing is: building turns the wheel, running runs the tests.
FROM python:3.12-slim

RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*

WORKDIR /flywheel
COPY . .
RUN make demo
CMD ["make", "test"]
