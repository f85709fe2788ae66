FROM python:3.13-slim
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 KVOPS_STATIC_ROOT=/srv/static
WORKDIR /srv/kvops
RUN apt-get update && apt-get install -y --no-install-recommends gettext && rm -rf /var/lib/apt/lists/*
COPY requirements.txt .
RUN pip install --no-cache-dir --require-hashes -r requirements.txt
COPY . .
RUN set -a && . .ci/check.env && set +a \
  && python manage.py compilemessages -v0 && python manage.py collectstatic --no-input -v0 \
  && useradd --system kvops
USER kvops
CMD ["gunicorn", "kvops.wsgi", "--worker-class=gthread", "--threads=8", "--bind=0.0.0.0:8000"]
